"""HBM3: 16 channels of two 32-bit pseudochannels, up to 6.4 Gb/s a pin; half-clock row commands, stack ids.

Public numbers disagree: nFAW is 24 clocks (Ramulator 2.1), 48 (AttAcc) or 12 ns (gem5), nRC 72, 77 or 43 ns. Random
access moves with them, so the set is named, and all three are here.
"""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["HBM3", "HBM3_GEM5", "HBM3_GRADE", "HBM3_REFRESH"]

_RAMULATOR = "Ramulator 2.1 hbm3.py (JESD238)"
_GEM5 = "gem5 HBM_6400_8H_1x64 (JESD238B.01)"
_ATTACC = "AttAcc HBM3-PIM.cpp (its nRC of 77 raised to nRAS + nRP)"

HBM3_GRADE = {
    **at_grade(
        625,
        _RAMULATOR,
        {"CL": 20, "CWL": 10, "tRCDRD": 31, "tRCDWR": 15, "tRP": 26, "tRAS": 45, "tRC": 72, "tWR": 33, "tRTP": 9,
         "tRRDS": 4, "tRRDL": 5, "tFAW": 24, "tWTRS": 7, "tWTRL": 10, "tRTW": 20, "tREFI": 6240, "tRFCpb": 320,
         "tRREFD": 8},
    ),
    "tPPD": clocks(2, f"{_RAMULATOR}: nPPD"),
}  # fmt: skip
HBM3_GEM5 = {
    "CL": ns("18", _GEM5), "CWL": ns("8", _GEM5), "tRCDRD": ns("14", _GEM5), "tRCDWR": ns("8", _GEM5),
    "tRP": ns("14", _GEM5), "tRAS": ns("29", _GEM5), "tRC": ns("43", f"{_GEM5}: tRAS + tRP"), "tWR": ns("14", _GEM5),
    "tRTP": ns("7.5", _GEM5), "tRRDS": ns("3", _GEM5), "tRRDL": ns("4", _GEM5), "tFAW": ns("12", f"{_GEM5}: tXAW"),
    "tWTRS": ns("4", _GEM5), "tWTRL": ns("9", _GEM5), "tRTW": ns("18", _GEM5), "tREFI": ns("3900", _GEM5),
    "tRFCpb": ns("200", _GEM5), "tRREFD": ns("8", _GEM5), "tPPD": clocks(2, f"{_RAMULATOR}: nPPD; gem5 has none"),
}  # fmt: skip
HBM3_REFRESH = (
    (4, ns("260", f"{_RAMULATOR}: tRFCab by density")),
    (8, ns("350", f"{_RAMULATOR}: tRFCab by density")),
    (16, ns("450", f"{_RAMULATOR}: tRFCab by density")),
    (64, ns("550", f"{_RAMULATOR}: tRFCab by density")),
)
_COLUMNS = {
    "tCCDS": clocks(2, f"{_RAMULATOR}: nCCDS"),
    "tCCDL": ns("2.5", f"{_GEM5}: tCCD_L; {_RAMULATOR}: 4 clocks of 625 ps", at_least=4),
    "tCCDR": clocks(3, f"{_RAMULATOR}: nCCDR"),
}

HBM3 = Standard(
    name="HBM3",
    document="JEDEC JESD238",
    lane_bits=32,
    burst_length=8,
    bits_per_clock=4,
    bank_groups=4,
    banks_per_group=4,
    page_bytes=1024,
    bus=2,
    half_clocks=True,
    activate_clocks=2,
    column_clocks=1,
    stack_ids=True,
    grade_bits_per_s=6_400_000_000,
    sets={
        "ramulator2.1": {**HBM3_GRADE, **_COLUMNS},
        "gem5": {**HBM3_GEM5, **_COLUMNS},
        "attacc": {
            **HBM3_GRADE,
            **_COLUMNS,
            **at_grade(
                625,
                _ATTACC,
                {"CL": 23, "CWL": 7, "tRCDRD": 23, "tRCDWR": 23, "tRP": 23, "tRAS": 55, "tRC": 78, "tWR": 26,
                 "tRTP": 10, "tRRDS": 2, "tRRDL": 4, "tFAW": 48, "tWTRS": 10, "tWTRL": 13, "tRTW": 20},
            ),
        },
    },
    refresh=HBM3_REFRESH,
    default_channel_gbit=16,
)  # fmt: skip
