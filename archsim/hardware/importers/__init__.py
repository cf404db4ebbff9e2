"""Other simulators' descriptions of hardware, turned into ours: one module a format, none of them knows the others."""
