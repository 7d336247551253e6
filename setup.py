"""What pyproject.toml cannot say: a compiled projector, which nothing needs.

It is built where there is a C++ compiler. `TASKCT_PURE=1` leaves it out, which gives a wheel for every machine; the
sdist builds it where it is installed.
"""

import os

from setuptools import Extension, setup

LIMITED_API = ("Py_LIMITED_API", "0x030B0000")  # one build serves Python 3.11 and all later ones

kernel = Extension(
    "taskct_core.projection._kernel",
    ["taskct_core/projection/kernel.cpp"],
    language="c++",
    define_macros=[LIMITED_API],
    py_limited_api=True,
    extra_compile_args=["-O3", "-std=c++17", "-pthread"],
    extra_link_args=["-pthread"],
    optional=True,
)
is_pure = os.environ.get("TASKCT_PURE") == "1"
setup(
    ext_modules=[] if is_pure else [kernel],
    options={} if is_pure else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
