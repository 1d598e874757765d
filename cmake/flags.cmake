# How everything is compiled: the interface target pleiad_flags, precompiled standard headers, ccache.

include(CheckCXXCompilerFlag)

add_library(pleiad_flags INTERFACE)
set(pleiad_warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
set(pleiad_codegen
    # GCC would fuse a*b+c into one rounding wherever it sees fit, differently from loop to loop, from inlining to inlining and
    # between the vector body and the remainder of a loop. Results that are bit-identical on any number of ranks (docs/numerics.md)
    # need one rounding per operation. Never -ffast-math, for the same reason.
    -ffp-contract=off
    # These two change no value: they only drop errno and floating-point traps, which nobody reads, and let loops vectorise.
    -fno-math-errno -fno-trapping-math
    # "#pragma omp simd" without the OpenMP runtime.
    -fopenmp-simd)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Peeling a loop until its pointer is aligned would make the order of a vectorised sum depend on the address.
  list(APPEND pleiad_codegen --param=vect-max-peeling-for-alignment=0)
endif()
if(PLEIAD_NATIVE)
  list(APPEND pleiad_codegen -march=native)
  # GCC 12 with AVX-512 compiles some constant lists wrongly ({1, 1, 1, 0} becomes {1, 1, 1, 1}); without this tuning it does not.
  # tests/core/compiler_test.cpp is the proof.
  set(pleiad_gcc12_tuning "-mtune-ctrl=^inter_unit_moves_to_vec")
  check_cxx_compiler_flag("${pleiad_gcc12_tuning}" PLEIAD_HAVE_GCC12_TUNING)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13 AND PLEIAD_HAVE_GCC12_TUNING)
    list(APPEND pleiad_codegen "${pleiad_gcc12_tuning}")
  endif()
endif()
if(PLEIAD_SANITIZE)
  list(APPEND pleiad_codegen -fsanitize=${PLEIAD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pleiad_flags INTERFACE -fsanitize=${PLEIAD_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Optimiser warnings with known false alarms inside the standard library: shown, but never an error.
  # In a unity build every source is an included file, and what it keeps to itself looks like a header's.
  list(APPEND pleiad_warnings -Wno-subobject-linkage -Wno-restrict -Wno-error=maybe-uninitialized -Wno-error=array-bounds -Wno-error=stringop-overflow
       -Wno-error=stringop-overread)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND pleiad_warnings -Wno-pass-failed)  # the fuzzers are not about speed
endif()
if(PLEIAD_WERROR)
  list(PREPEND pleiad_warnings -Werror)
endif()
target_compile_options(pleiad_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${pleiad_warnings};${pleiad_codegen}>)
target_include_directories(pleiad_flags INTERFACE "${PROJECT_SOURCE_DIR}/include")
target_link_libraries(pleiad_flags INTERFACE pleiad::dep_fmt pleiad::dep_random123)

# ccache, in harmony with precompiled headers (sloppiness) and with -march=native (a cache in a home directory that several
# kinds of machine share must not hand one machine's code to another: one name space per instruction set). Another checkout of
# the same sources finds what the first one compiled (base directory).
find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(pleiad_ccache_env CCACHE_SLOPPINESS=pch_defines,time_macros "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1)
  if(PLEIAD_NATIVE)
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -march=native -x c++ -E -v /dev/null OUTPUT_QUIET ERROR_VARIABLE pleiad_native)
    string(REGEX MATCHALL " -m[^ \n]+" pleiad_native "${pleiad_native}")
    string(SHA1 pleiad_native "${pleiad_native}")
    string(SUBSTRING "${pleiad_native}" 0 12 pleiad_native)
    list(APPEND pleiad_ccache_env CCACHE_NAMESPACE=pleiad-${pleiad_native})
  endif()
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env ${pleiad_ccache_env} "${CCACHE_PROGRAM}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(pleiad_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endif()

# One precompiled header for all rooms (both precisions: it holds nothing of ours), one more with GoogleTest for the tests.
# Every header of ours must still say what it needs of them: tests/architecture/check_headers.py.
set(pleiad_std_headers <algorithm> <cmath> <cstdint> <functional> <map> <memory> <optional> <span> <string> <string_view> <vector>
    <fmt/format.h>)
function(pleiad_add_pch name)
  if(PLEIAD_PCH)
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/pch/${name}.cpp" CONTENT "// carries the precompiled header\n")
    add_library(${name} OBJECT EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/pch/${name}.cpp")
    target_link_libraries(${name} PRIVATE pleiad_flags)
    target_precompile_headers(${name} PRIVATE ${pleiad_std_headers} ${ARGN})
  endif()
endfunction()
function(pleiad_use_pch target pch)
  if(PLEIAD_PCH)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()
pleiad_add_pch(pleiad_pch)
