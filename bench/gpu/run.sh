#!/bin/sh
# The whole benchmark on a machine with a GPU, in one call: unpacks what pack.sh packed, builds the addon against the PyTorch of python3, and
# measures. README.md beside this file says what. It needs python3 with PyTorch, CMake and a C++ compiler, CUDA's headers, and no network.
#
#   sh bench/gpu/run.sh [--device cuda] [--budget SECONDS] [--out FOLDER] [--small] [--only WORD ...]
set -eu
since=$(date +%s)
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
packed=bench/gpu/carry/laclip.tar.xz
# A clone with its own Node, packages and build needs nothing of it.
if ! command -v node >/dev/null 2>&1; then
  PATH=$PWD/build/gpu/bin:$PATH
  # The libjpeg-turbo of the addon for images.
  LD_LIBRARY_PATH=$PWD/build/gpu/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PATH LD_LIBRARY_PATH
  stamp=$(cksum "$packed")
  if [ "$(cat build/gpu/unpacked 2>/dev/null)" != "$stamp" ]; then
    echo "unpacking $packed" >&2
    # Python reads xz wherever it is; tar asks for a program.
    "$python" -W ignore -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(".")' "$packed"
    echo "$stamp" >build/gpu/unpacked
  fi
fi
LACLIP_LIBTORCH=$("$python" -c 'import importlib.util as u; print(list(u.find_spec("torch").submodule_search_locations)[0])')
export LACLIP_LIBTORCH
# Compiled kernels stay for the next program, and in this folder.
TORCHINDUCTOR_CACHE_DIR=$PWD/build/gpu/inductor
LACLIP_KERNEL_CACHE=$PWD/build/gpu/kernels
export TORCHINDUCTOR_CACHE_DIR LACLIP_KERNEL_CACHE
node bench/gpu/build-addon.mjs
exec node bench/gpu/measure.mjs --python "$python" --since "$since" "$@"
