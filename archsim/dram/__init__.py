"""The memory floor: command-level timing of DRAM channels, and the non-DRAM memories beside them."""
