"""LPDDR5: 16-bit channels, up to 6.4 Gb/s a pin; ACT in two commands, a command clock per eight bits."""

from __future__ import annotations

from archsim.dram.standards.table import Split, Standard, at_grade, clocks, ns

__all__ = ["LPDDR5", "LPDDR5_GRADE", "LPDDR5_REFRESH"]

_RAMULATOR = "Ramulator 2.1 lpddr5.py (JESD209-5B)"

LPDDR5_GRADE = {
    **at_grade(
        1250,
        _RAMULATOR,
        {"CL": 17, "CWL": 9, "tRCDRD": 15, "tRCDWR": 15, "tRP": 15, "tRPab": 17, "tRAS": 34, "tRC": 49, "tWR": 28,
         "tRTP": 8, "tRRDS": 4, "tRRDL": 4, "tFAW": 16, "tWTRS": 5, "tWTRL": 10, "tREFI": 3125, "tRFCpb": 112},
    ),
    "tRREFD": ns("7.5", f"{_RAMULATOR}: nPBR2ACT, 6 clocks of 1250 ps"),
    "tPBR2PBR": ns("90", f"{_RAMULATOR}: nPBR2PBR, 72 clocks of 1250 ps"),
    "tPPD": clocks(2, f"{_RAMULATOR}: nPPD"),
    "tCCDS": clocks(2, f"{_RAMULATOR}: nCCDS"),
    "BLL": clocks(4, f"{_RAMULATOR}: nBL_max, what a burst of 16 takes of its own bank group"),
    "tCCDL": clocks(4, f"{_RAMULATOR}: nCCDL"),
}  # fmt: skip
LPDDR5_REFRESH = (
    (4, ns("130", f"{_RAMULATOR}: tRFCab by density")),
    (8, ns("210", f"{_RAMULATOR}: tRFCab by density")),
    (16, ns("280", f"{_RAMULATOR}: tRFCab by density")),
    (32, ns("380", f"{_RAMULATOR}: tRFCab by density")),
)

LPDDR5 = Standard(
    name="LPDDR5",
    document="JEDEC JESD209-5B",
    lane_bits=16,
    burst_length=16,
    bits_per_clock=8,
    bank_groups=4,
    banks_per_group=4,
    page_bytes=2048,
    bus=0,
    half_clocks=False,
    activate_clocks=2,
    column_clocks=1,
    stack_ids=False,
    grade_bits_per_s=6_400_000_000,
    sets={"ramulator2.1": LPDDR5_GRADE},
    refresh=LPDDR5_REFRESH,
    default_channel_gbit=16,
    split_activate=Split(
        within=clocks(8, f"{_RAMULATOR}: nAAD, ACT-1 to the latest ACT-2"),
        guard=clocks(1, f"{_RAMULATOR}: clocks kept free for an ACT-2 that is due"),
        clock_tail=clocks(3, f"{_RAMULATOR}: nBL_min 2 + nWCKPST 1, how long a burst keeps the data clock running"),
    ),
)
