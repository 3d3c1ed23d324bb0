"""What the suites share: paths, live servers, and a network that ends at this machine.

Every environment of the tests imports it: beyond the standard library it asks for pytest alone, and for httpx where a
test calls a server through it.
"""
