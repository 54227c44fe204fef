"""Maps the top-level rooms into one package; see docs/explanations/decisions/0001-rooms-as-one-package.md."""

from setuptools import find_packages, setup

ROOMS = ("acquisition", "analysis", "devices", "plans", "simulators")
found = find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")])

setup(
    packages=[f"megabar.{package}" for package in found],
    package_dir={f"megabar.{room}": room for room in ROOMS},
)
