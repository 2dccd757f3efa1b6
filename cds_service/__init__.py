"""Is this mother at raised risk of postpartum depression, and may she be offered ketamine or esketamine?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cds-service")
except PackageNotFoundError:  # a checkout that nobody installed
    __version__ = "0+unknown"
