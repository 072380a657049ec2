"""Packaging of al_rotate; the tested versions of everything are pinned in requirements/."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="al_rotate",
    version="0.2.0",
    description="Active learning for rotated object detection, around MMRotate and Label Studio",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["al_rotate", "al_rotate.*"]),
    package_data={"al_rotate": ["py.typed"], "": ["*.html.j2"]},
    python_requires=">=3.10,<3.13",
    install_requires=[
        "numpy>=1.24",
        "scipy>=1.10",
        "pandas>=2.0",
        "scikit-learn>=1.3",
        "pyarrow>=14",
        "shapely>=2.0",
        "pillow>=10",
        "matplotlib>=3.7",
        "jinja2>=3.1",
        "tqdm>=4.65",
    ],
    extras_require={
        # mmcv's ops must be compiled against the installed torch: see README, "Installing".
        "mm": [
            "torch>=2.1",
            "torchvision",
            "onedl-mmcv>=2.3.6",
            "onedl-mmengine>=0.10.12",
            "onedl-mmdetection>=3.5.1",
            "onedl-mmrotate>=1.2.1",
        ],
        "fast": ["onnx>=1.17", "onnxruntime>=1.20"],
        "studio": ["label-studio-sdk>=2.1", "httpx>=0.27", "fastapi>=0.115", "uvicorn>=0.30"],
        "dev": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "psutil",
            "hypothesis",
            "pycocotools",
            "selenium",
            "ruff",
            "mypy",
            "pandas-stubs",
        ],
    },
    entry_points={
        "console_scripts": ["al-rotate = al_rotate.cli:main"],
        "al_rotate.annotators": [
            "simulated = al_rotate.loop.simulated:restore",
            "label-studio = al_rotate.bridge:restore_annotator",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
