#include "network/arithmetic/matrix_unit.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#ifdef __x86_64__
#include <immintrin.h>

// Only the functions below are compiled for these instructions, not those of the headers above.
#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

namespace insightface {
namespace {

constexpr int64_t kTileRows = 16;

// The 64 bytes that the instruction for setting up reads: eight tiles of 16 rows.
struct alignas(64) TileSettings {
  uint8_t palette, first_row, reserved[14];
  uint16_t bytes_of_row[16];
  uint8_t rows[16];
};
constexpr TileSettings kSettings = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// Functions, because GCC does not compile constructors for the instructions of a pragma.
void SetUp() {
  // GCC's function says that it reads eight bytes.
  __asm__ volatile("" : : "r"(&kSettings) : "memory");
  _tile_loadconfig(&kSettings);
}

void Release() { _tile_release(); }

}  // namespace

// Tiles 0 to 3 hold the sums, 4 and 5 rows of a, 6 and 7 columns of b.
void MultiplyByUnit(const UnitFactor& a, const UnitFactor& b, int64_t inner, const UnitStart& start,
                    const UnitSums& sums, Upcoming::Lines next) {
  constexpr int64_t kNumber = sizeof(BFloat16), kSum = sizeof(float);
  constexpr int64_t kRight = kUnitColumns / 2;  // columns
  const int64_t a_bytes = a.step * kNumber, b_bytes = 2 * b.step * kNumber;
  if (start.numbers != nullptr) {
    const float* const lower = start.numbers + kTileRows * start.step;
    _tile_loadd(0, start.numbers, start.step * kSum);
    _tile_loadd(1, start.numbers + kRight, start.step * kSum);
    _tile_loadd(2, lower, start.step * kSum);
    _tile_loadd(3, lower + kRight, start.step * kSum);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const int64_t steps = inner / kUnitInner, lines_of_step = (next.count + steps - 1) / steps;
  int64_t line = 0;
  for (int64_t i = 0; i < inner; i += kUnitInner) {
    for (int64_t end = std::min(line + lines_of_step, next.count); line < end; ++line) { next.Prefetch(line); }
    const BFloat16* const upper = a.start + i;
    const BFloat16* const left = b.start + i * b.step;
    _tile_loadd(6, left, b_bytes);
    _tile_loadd(4, upper, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, left + 2 * kRight, b_bytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, upper + kTileRows * a.step, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  float* const lower = sums.c + kTileRows * sums.step;
  _tile_stored(0, sums.c, sums.step * kSum);
  _tile_stored(1, sums.c + sums.right, sums.step * kSum);
  _tile_stored(2, lower, sums.step * kSum);
  _tile_stored(3, lower + sums.right, sums.step * kSum);
}

}  // namespace insightface

#pragma GCC pop_options

namespace insightface {

namespace {

// Of the calling thread.
struct UnitState {
  bool is_set_up = false, is_held = false;
};
thread_local UnitState state;

void ReleaseUnit() {
  if (state.is_set_up) { Release(); }
  state.is_set_up = false;
}

}  // namespace

MatrixUnit::MatrixUnit() {
  if (!state.is_set_up) { SetUp(); }
  state.is_set_up = true;
}
MatrixUnit::~MatrixUnit() {
  if (!state.is_held) { ReleaseUnit(); }
}

MatrixUnitHold::MatrixUnitHold() { state.is_held = true; }
MatrixUnitHold::~MatrixUnitHold() {
  state.is_held = false;
  ReleaseUnit();
}

bool HasMatrixUnit() {
  // Asked for every block of rows, and oneDNN looks at the processor each time.
  static const bool has = [] {
    switch (dnnl::get_effective_cpu_isa()) {
      case dnnl::cpu_isa::avx512_core_amx:
      case dnnl::cpu_isa::avx512_core_amx_fp16: return true;
      default: return false;
    }
  }();
  return has;
}

}  // namespace insightface

#else

namespace insightface {

bool HasMatrixUnit() { return false; }
MatrixUnit::MatrixUnit() = default;
MatrixUnit::~MatrixUnit() = default;
MatrixUnitHold::MatrixUnitHold() = default;
MatrixUnitHold::~MatrixUnitHold() = default;
void MultiplyByUnit(const UnitFactor&, const UnitFactor&, int64_t, const UnitStart&, const UnitSums&, Upcoming::Lines) {}

}  // namespace insightface

#endif
