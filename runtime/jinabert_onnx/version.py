"""The version of both packages, which are released as one."""

__version__ = "0.1.0"
