"""How far off a prediction may be: residuals of the suites by mechanism, carried to the prediction at hand."""

__all__: list[str] = []
