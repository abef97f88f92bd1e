"""Builds the Python modules of the .proto files; setup.cfg has the rest."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
PROTOS = HERE / "simprod_tf" / "serving" / "protos"


class BuildWithStubs(build_py):
    """Writes the stubs beside their .proto, as an editable install needs them."""

    def run(self):
        import grpc_tools
        from grpc_tools import protoc

        includes = [HERE, Path(grpc_tools.__file__).parent / "_proto"]
        for proto in sorted(PROTOS.glob("*.proto")):
            options = [f"--{kind}_out={HERE}" for kind in ("python", "grpc_python")]
            paths = [f"-I{folder}" for folder in includes]
            if protoc.main(["protoc", *paths, *options, str(proto)]):
                # An Exception would be swallowed where the install is editable.
                raise SystemExit(f"{proto} cannot be compiled.")
        super().run()


setup(cmdclass={"build_py": BuildWithStubs})
