// Work in stages on several threads: each stage begins when all of the one before has ended.
#pragma once

#include <cstddef>

#include "../parallel.h"

namespace jinabert::layers {

constexpr size_t kMostStages = 8;

// Does one ticket of a stage. `worker` is below the number of workers, and no other runs at the time under its number.
using Step = void (*)(void* data, size_t stage, size_t ticket, size_t worker);

// Runs step(data, stage, ticket, worker) for every ticket below counts[stage], stage after stage.
//
// One call of the threads does it all. Workers take tickets; one that finds none left waits for those that were taken,
// which a running thread holds: so it works on any number of threads, also if they come late, or a single one does it.
void run_stages(Step step, void* data, const size_t* counts, size_t stages, size_t workers, Parallel& parallel);

}  // namespace jinabert::layers
