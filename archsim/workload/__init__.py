"""What has to be computed: models, their operators and precision, and the requests that ask for them.

Nothing here knows a chip or a time.
"""

__all__: list[str] = []
