"""HBM4: 32 channels of two 32-bit pseudochannels, 8 Gb/s a pin and more; two bank groups of eight banks."""

from __future__ import annotations

from archsim.dram.standards.table import Standard, at_grade, clocks, ns

__all__ = ["HBM4"]

_RAMULATOR = "Ramulator 2.1 hbm4.py"

HBM4 = Standard(
    name="HBM4",
    document="JEDEC JESD270-4",
    lane_bits=32,
    burst_length=8,
    bits_per_clock=4,
    bank_groups=2,
    banks_per_group=8,
    page_bytes=1024,
    bus=2,
    half_clocks=True,
    activate_clocks=2,
    column_clocks=1,
    stack_ids=True,
    grade_bits_per_s=8_000_000_000,
    sets={
        "ramulator2.1": {
            **at_grade(
                500,
                _RAMULATOR,
                {"CL": 20, "CWL": 10, "tRCDRD": 39, "tRCDWR": 19, "tRP": 33, "tRAS": 57, "tRC": 90, "tWR": 42,
                 "tRTP": 12, "tRRDS": 5, "tRRDL": 7, "tFAW": 30, "tWTRS": 9, "tWTRL": 13, "tRTW": 25, "tREFI": 7800,
                 "tRFCpb": 560, "tRREFD": 16},
            ),
            "tPPD": clocks(2, f"{_RAMULATOR}: nPPD"),
            "tCCDS": clocks(2, f"{_RAMULATOR}: nCCDS"),
            "tCCDL": clocks(4, f"{_RAMULATOR}: nCCDL"),
            "tCCDR": clocks(2, f"{_RAMULATOR}: nCCDR"),
        },
    },
    refresh=(
        (32, ns("450", f"{_RAMULATOR}: nRFC of an 8-high stack, 900 clocks of 500 ps")),
        (64, ns("550", "assumption: HBM3's tRFCab above 16 Gb (Ramulator 2.1 hbm3.py)")),
    ),
    default_channel_gbit=32,
)  # fmt: skip
