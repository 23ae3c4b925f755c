#!/bin/sh
# Compiles llama.cpp's CUDA part for one kind of GPU: libggml-cuda.so in build/gpu/llama-cuda, to take the place of node-llama-cpp's own.
#
#   sh bench/gpu/build-llama-cuda.sh [ARCHITECTURE]     90 by default: H100, H200
#   sh bench/gpu/build-llama-cuda.sh --sources          only gets the sources
#
# node-llama-cpp's has machine code for 8.6, 8.9 and 12.x. For all other GPUs it has PTX of CUDA 13.1, which older drivers are taken not to compile.
# The sources are the ones that node-llama-cpp brings along (its llama.cpp as a git bundle), or, where pack.sh has packed them, those. It takes
# CUDA's compiler (NVCC, default: the one in PATH, else in /usr/local/cuda), CMake and make; cuBLAS may be that of a PyTorch wheel.
# NVCC_LAUNCHER goes in front of every call of the compiler.
set -eu
cd "$(dirname "$0")/../.."
architecture=${1:-90}
python=${PYTHON:-python3}
build=build/gpu/llama-cuda
sources=$build/sources
library=$build/libggml-cuda.so
if [ -e "$library" ] && [ "$(cat "$build/architecture")" = "$architecture" ]; then exit 0; fi
rm -f "$library"
mkdir -p "$build"

if [ ! -d "$sources" ]; then
  git clone --quiet --config advice.detachedHead=false node_modules/node-llama-cpp/llama/gitRelease.bundle "$sources"
fi
if [ "$architecture" = --sources ]; then exit 0; fi
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
toolkit=$(dirname "$(dirname "$(readlink -f "$nvcc")")")

# cuBLAS: of the toolkit, else of the wheels beside PyTorch.
wheels=$("$python" -c 'import importlib.util as u; s = u.find_spec("nvidia"); print([*s.submodule_search_locations][0] if s else "")' 2>/dev/null || true)
cublas=
for folder in "$toolkit/lib64" "$toolkit/lib" "$toolkit/targets/x86_64-linux/lib" "$wheels/cu13/lib" "$wheels/cublas/lib"; do
  for name in libcublas.so libcublas.so.13 libcublas.so.12; do
    if [ -z "$cublas" ] && [ -e "$folder/$name" ]; then cublas=$folder/$name; fi
  done
done
if [ -z "$cublas" ]; then
  echo "There is no libcublas in $toolkit, nor beside PyTorch: install CUDA's, or a PyTorch for CUDA." >&2
  exit 1
fi

# Its headers alone, since those beside them may be of another version than the compiler's own.
mkdir -p "$build/include"
ln -sf "$(dirname "$(dirname "$cublas")")"/include/cublas*.h "$build/include/"

# The driver's own library is on the machine with the GPU; to link, its name is enough, if it is kept though nothing is found in it.
mkdir -p "$build/driver"
echo 'void laclip_no_driver(void) {}' | cc -shared -fPIC -x c -o "$build/driver/libcuda.so" -Wl,-soname,libcuda.so.1 -
cat >"$build/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.19)
project(llama-cuda C CXX)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# node-llama-cpp's libraries have no version in their names.
set(CMAKE_PLATFORM_NO_VERSIONED_SONAME ON)
set(CMAKE_BUILD_WITH_INSTALL_RPATH TRUE)
set(CMAKE_INSTALL_RPATH "$ORIGIN")
add_subdirectory(sources/ggml ggml)
CMAKE
cmake -S "$build" -B "$build/out" -Wno-dev -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON -DGGML_NATIVE=OFF \
  -DGGML_CPU=OFF -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF -DGGML_CUDA=ON -DGGML_CUDA_GRAPHS=ON -DGGML_CUDA_NCCL=OFF \
  -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_COMPILER_LAUNCHER="${NVCC_LAUNCHER:-}" \
  -DCMAKE_CUDA_FLAGS="-I$PWD/$build/include" -DCUDAToolkit_ROOT="$toolkit" \
  -DCMAKE_SHARED_LINKER_FLAGS=-Wl,--no-as-needed -DCUDA_cublas_LIBRARY="$cublas" -DCUDA_cuda_driver_LIBRARY="$PWD/$build/driver/libcuda.so" >"$build/configure.log"
cmake --build "$build/out" --target ggml-cuda --parallel "$(nproc)" >"$build/build.log"
find "$build/out" -name libggml-cuda.so -exec cp {} "$library" \;
strip "$library"
echo "$architecture" >"$build/architecture"
