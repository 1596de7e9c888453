"""For every room's tests: properties have no deadline, since a machine's mood is no property of the code."""

from hypothesis import settings

settings.register_profile("driftloop", deadline=None)
settings.load_profile("driftloop")
