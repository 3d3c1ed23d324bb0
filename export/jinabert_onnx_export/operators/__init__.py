"""The operators of the `jinabert` domain, written in standard ones."""
