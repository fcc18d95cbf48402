// float32 matrix products on processors with AMX. Each number is the sum of parts of bfloat16, which the tiles multiply and add
// in float32. Infinite numbers, and those that bfloat16 rounds to infinity (from 3.3962e38), give NaN.
#pragma once
#include <cstdint>

// Whether this processor and this kernel have what it takes.
bool amx_is_there();

// A matrix of float32; `inner` is the dimension that a product sums over. One of the strides is 1.
struct AmxOperand {
  const float* data;
  int64_t rows, inner;
  int64_t row_stride, inner_stride;
};

// Of three parts a product of two numbers has nine, of which the three smallest are below float32's rounding and left out; of
// two parts, which hold a number to 2^-16 of it, four, of which the smallest is.
enum class AmxParts { Two = 2, Three = 3 };

// What a product starts from.
enum class AmxStart { Zero, Bias, Result };

// The right operand is cut into parts first, panel by panel; then blocks of the left one's rows are multiplied. Panels and
// blocks may each be done by any thread, in any order, and be of any size: the result is the same.
int64_t amx_panels(int64_t rows);
// Rows of a block: the most, and the least but for the last one.
constexpr int64_t kAmxMostRows = 128, kAmxLeastRows = 32;
// Of the right operand's parts.
int64_t amx_bytes(int64_t rows, int64_t inner, AmxParts parts);

// `packed` is aligned to 64 bytes and has room for all panels.
void amx_pack(const AmxOperand& right, int64_t panel, AmxParts parts, uint8_t* packed);

// Rows first_row..first_row + rows of left * rightᵀ to `result`, [left.rows, columns] without gaps; `bias` has a number for
// each column.
void amx_multiply(const AmxOperand& left, int64_t first_row, int64_t rows, const uint8_t* packed, int64_t columns, AmxParts parts,
                  AmxStart start, const float* bias, float* result);
