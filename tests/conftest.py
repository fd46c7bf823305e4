"""How all tests run: profiles of the property tests."""

import os

from hypothesis import HealthCheck, settings

# No deadlines: a busy machine is not a bug. In CI the same examples on every run,
# so that a red build is about the change and can be repeated.
settings.register_profile(
    "default",
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)
