"""The C++ loop that calls compiled kernels for a table of addresses, on all threads."""

from __future__ import annotations

from functools import cache
from typing import Any

LAUNCHER = r"""
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {
using Function = void (*)(void*, const int64_t*);

template <size_t... I> void call(void* kernel, const int64_t* a, std::index_sequence<I...>) {
  reinterpret_cast<void (*)(decltype(static_cast<void>(I), int64_t())...)>(kernel)(a[I]...);
}
template <size_t N> void call_with(void* kernel, const int64_t* a) {
  call(kernel, a, std::make_index_sequence<N>());
}
template <size_t... N> Function pick(int64_t arity, std::index_sequence<N...>) {
  static const Function all[] = {call_with<N>...};
  return all[arity];
}
}  // namespace

extern "C" int64_t most_arguments() { return 63; }

// Roles of arguments: a column of the table, or -1 for the number of units, or -2 - s for the
// scratch memory s. Units are cut to chunks; addresses move by `strides` bytes a unit. Scratch
// memory has `scratch_bytes` a unit, or is at a fixed address, given by its complement.
extern "C" void sweep(int64_t calls, const int64_t* kernels, const int64_t* arities,
                      const int64_t* roles, int64_t leaves, int64_t columns, const int64_t* table,
                      const int64_t* units, const int64_t* strides, int64_t scratches,
                      const int64_t* scratch_bytes, int64_t key_column, int64_t key_step,
                      int64_t chunk, int64_t align, int64_t threads) {
  int64_t total = 0;
  for (int64_t leaf = 0; leaf < leaves; leaf++) total += units[leaf];
  #pragma omp parallel num_threads(threads)
  {
    int64_t thread = 0, team = 1;
#ifdef _OPENMP
    thread = omp_get_thread_num();
    team = omp_get_num_threads();
#endif
    const int64_t first = total * thread / team, last = total * (thread + 1) / team;
    std::vector<std::vector<int64_t>> memory;
    for (int64_t s = 0; s < scratches; s++)
      memory.emplace_back(std::max(scratch_bytes[s], int64_t(0)) * chunk / 8 + 9);
    int32_t key = 0;
    int64_t arguments[64];
    int64_t before = 0;
    for (int64_t leaf = 0; leaf < leaves; leaf++) {
      const int64_t* base = table + leaf * columns;
      const auto cut = [&](int64_t at) {
        return at <= before ? 0 : at >= before + units[leaf] ? units[leaf]
                                                             : (at - before) / align * align;
      };
      const int64_t end = cut(last);
      for (int64_t from = cut(first); from < end; from += chunk) {
        const int64_t* role = roles;
        for (int64_t c = 0; c < calls; c++) {
          for (int64_t i = 0; i < arities[c]; i++, role++) {
            if (*role == -1) {
              arguments[i] = std::min(chunk, end - from);
            } else if (*role < -1 && scratch_bytes[-2 - *role] < 0) {
              arguments[i] = ~scratch_bytes[-2 - *role];
            } else if (*role < -1) {
              const auto address = reinterpret_cast<int64_t>(memory[-2 - *role].data());
              arguments[i] = (address + 63) / 64 * 64;
            } else if (*role == key_column) {
              key = static_cast<int32_t>(*reinterpret_cast<const uint32_t*>(base[*role]) +
                                         static_cast<uint32_t>(from * key_step));
              arguments[i] = reinterpret_cast<int64_t>(&key);
            } else {
              arguments[i] = base[*role] + from * strides[*role];
            }
          }
          const auto kernel = reinterpret_cast<void*>(kernels[c]);
          pick(arities[c], std::make_index_sequence<64>())(kernel, arguments);
        }
      }
      before += units[leaf];
    }
  }
}
"""


@cache
def launcher() -> Any:
    """Compile the C++ loop, with the compiler and the flags of torch's kernels."""
    from torch._inductor.codecache import CppCodeCache

    library = CppCodeCache.load(LAUNCHER)
    library.sweep.restype = None
    return library
