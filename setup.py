"""The one thing that pyproject.toml cannot say: a compiled projector, skipped where no compiler is."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "taskct_core.projection._kernel",
            ["taskct_core/projection/kernel.cpp"],
            language="c++",
            extra_compile_args=["-O3", "-std=c++17", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
