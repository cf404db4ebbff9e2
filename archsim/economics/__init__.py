"""What tokens cost in money and in emissions: pure functions of a result, a system and one file of prices.

It simulates nothing and knows no model: rates and joules come from the result, areas and watts from the system, every
price from the file. What nobody states is named absent, never counted as zero.
"""

__all__: list[str] = []
