"""HBM2: 8 channels of two 64-bit pseudochannels, 2.0 to 2.4 Gb/s a pin."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["HBM2", "HBM2_GRADE", "HBM2_REFRESH"]

_RAMULATOR = "Ramulator 2.1 hbm2.py (JESD235D)"
_AMD = "DRAMSys configs/memspec/HBM2.json (read out of an AMD GPU)"

HBM2_GRADE = at_grade(
    1000,
    _RAMULATOR,
    {"CL": 14, "CWL": 5, "tRCDRD": 14, "tRCDWR": 12, "tRP": 14, "tRAS": 34, "tRC": 48, "tWR": 16, "tRTP": 5,
     "tRRDS": 4, "tRRDL": 4, "tFAW": 15, "tWTRS": 6, "tWTRL": 8, "tREFI": 3900, "tRFCpb": 160, "tRREFD": 8},
)  # fmt: skip
HBM2_REFRESH = (
    (8, ns("350", f"{_RAMULATOR}: tRFCab of an 8 Gb channel")),
    (16, ns("450", "assumption: HBM3's tRFCab of the same density; no HBM2 number above 8 Gb is public")),
)

HBM2 = Standard(
    name="HBM2",
    document="JEDEC JESD235",
    lane_bits=64,
    burst_length=4,
    bits_per_clock=2,
    bank_groups=4,
    banks_per_group=4,
    page_bytes=1024,
    bus=1,
    half_clocks=False,
    activate_clocks=2,
    column_clocks=1,
    stack_ids=False,
    grade_bits_per_s=2_000_000_000,
    sets={
        "ramulator2.1": {
            **HBM2_GRADE,
            "tCCDS": clocks(2, f"{_RAMULATOR}: nCCDS"),
            "tCCDL": clocks(4, f"{_RAMULATOR}: nCCDL"),
        },
        "dramsys-amd": {
            **at_grade(
                1000,
                _AMD,
                {"CL": 17, "CWL": 7, "tRCDRD": 12, "tRCDWR": 6, "tRP": 14, "tRAS": 28, "tRC": 42, "tWR": 14, "tRTP": 5,
                 "tRRDS": 4, "tRRDL": 6, "tFAW": 16, "tWTRS": 4, "tWTRL": 9, "tRTW": 18, "tREFI": 3900,
                 "tRFCpb": 96, "tRREFD": 8},
            ),
            "tCCDS": clocks(2, f"{_AMD}: CCDS"),
            "tCCDL": clocks(3, f"{_AMD}: CCDL"),
        },
    },
    refresh=HBM2_REFRESH,
    default_channel_gbit=8,
)  # fmt: skip
