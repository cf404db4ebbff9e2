"""LPDDR4X: 16-bit channels, up to 4.27 Gb/s a pin, no bank groups."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["LPDDR4X"]

_DRAMSIM = "DRAMsim3 LPDDR4_8Gb_x16_2400.ini"

LPDDR4X = Standard(
    name="LPDDR4X",
    document="JEDEC JESD209-4",
    lane_bits=16,
    burst_length=16,
    bits_per_clock=2,
    bank_groups=1,
    banks_per_group=8,
    page_bytes=2048,
    bus=0,
    half_clocks=False,
    activate_clocks=4,
    column_clocks=4,
    stack_ids=False,
    grade_bits_per_s=4_266_000_000,
    sets={
        "dramsim3": {
            **at_grade(
                833,
                _DRAMSIM,
                {"CL": 17, "CWL": 14, "tRCDRD": 15, "tRCDWR": 15, "tRP": 15, "tRAS": 32, "tRC": 47, "tWR": 30,
                 "tRTP": 12, "tRRDS": 8, "tRRDL": 8, "tFAW": 32, "tWTRS": 8, "tWTRL": 8},
            ),
            "tREFI": ns("3904", "JEDEC JESD209-4, as the bundled LPDDR4X device states"),
            "tRFCpb": ns("140", "assumption: half of tRFCab, the ratio of LPDDR5 (Ramulator 2.1 lpddr5.py)"),
            "tRREFD": ns("7.5", "assumption: LPDDR5's nPBR2ACT (Ramulator 2.1 lpddr5.py)"),
            "tPPD": clocks(4, "assumption: JESD209-4's four clocks of a precharge command"),
            "tCCDS": clocks(8, "JEDEC JESD209-4: a burst of 16 takes 8 clocks"),
            "tCCDL": clocks(8, "JEDEC JESD209-4: no bank groups"),
        },
    },
    refresh=((16, ns("280", "assumption: tRFCab given for LPDDR5 of 16 Gb; JESD209-4 itself is not public")),),
    default_channel_gbit=8,
)  # fmt: skip
