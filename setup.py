"""Builds the Python modules of the .proto files; setup.cfg has the rest."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
PROTOS = HERE / "simprod_tf" / "serving" / "protos"


class BuildWithStubs(build_py):
    """Writes the stubs beside their .proto, as an editable install needs them."""

    def run(self):
        from grpc_tools import protoc

        for proto in sorted(PROTOS.glob("*.proto")):
            options = [f"--{kind}_out={HERE}" for kind in ("python", "grpc_python")]
            if protoc.main(["protoc", f"-I{HERE}", *options, str(proto)]):
                raise RuntimeError(f"{proto} cannot be compiled.")
        super().run()


setup(cmdclass={"build_py": BuildWithStubs})
