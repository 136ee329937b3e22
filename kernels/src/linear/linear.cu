// The fully connected layer: three products of small matrices, in float32.
//
// A warp computes 16 rows x 32 columns of a product: a lane has a column, and the 16 rows come from shared memory, four at a
// read. Neighbouring warps have either neighbouring columns or `split` parts of the depth, which are then added in order.
#include "device.cuh"

namespace linear {

constexpr u32 THREADS = 128;
constexpr u32 WARPS = THREADS / 32;
constexpr u32 ROWS = 16;
constexpr u32 COLUMNS = 32;
/// Of the depth, at a time.
constexpr u32 DEPTH = 32;

/// `c[row][column] = Σ a[row][k] b[k][column]`. Strides are in floats. Mirrors `Product` in cuda.rs.
struct Product {
    u32 rows, columns, depth;
    u32 a_row, a_depth;
    u32 b_depth, b_column;
    u32 c_row, c_column;
    /// Blocks along the rows and along the columns.
    u32 row_blocks, column_blocks;
    /// Warps that share the depth: 1 or 4.
    u32 split;
};

struct Shared {
    /// `[depth][row]`.
    float a[WARPS][DEPTH][ROWS];
    /// `[depth][column]`, of a `b` whose columns are not neighbours; padded against bank conflicts.
    float b[WARPS][DEPTH][COLUMNS + 1];
};

/// A lane's column of 16 rows, over the warp's part of the depth. The column after the last is of ones, if it is wanted.
__device__ __forceinline__ void multiply(const Product& product, Shared& shared, const float* a, const float* b,
                                         u32 first_row, u32 first_column, u32 part, bool has_ones,
                                         float (&sums)[ROWS]) {
    const u32 lane = lane_index(), warp = warp_index(), column = first_column + lane;
    float(&rows)[DEPTH][ROWS] = shared.a[warp];
    float(&columns)[DEPTH][COLUMNS + 1] = shared.b[warp];
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) sums[row] = 0.0f;
    for (u32 first = part * DEPTH; first < product.depth; first += product.split * DEPTH) {
        __syncwarp();
        // Read along what lies side by side in memory.
        if (product.a_depth == 1) {
#pragma unroll 4
            for (u32 row = 0; row < ROWS; ++row) {
                const bool exists = first_row + row < product.rows && first + lane < product.depth;
                rows[lane][row] = exists ? a[u64{first_row + row} * product.a_row + first + lane] : 0.0f;
            }
        } else {
#pragma unroll 4
            for (u32 pair = 0; pair < DEPTH / 2; ++pair) {
                const u32 k = 2 * pair + lane / ROWS, row = lane % ROWS;
                const bool exists = first_row + row < product.rows && first + k < product.depth;
                const u64 at = u64{first_row + row} * product.a_row + u64{first + k} * product.a_depth;
                rows[k][row] = exists ? a[at] : 0.0f;
            }
        }
        if (product.b_column != 1) {
#pragma unroll 4
            for (u32 other = 0; other < COLUMNS; ++other) {
                const bool exists = first_column + other < product.columns && first + lane < product.depth;
                const u64 at = u64{first_column + other} * product.b_column + u64{first + lane} * product.b_depth;
                columns[lane][other] = exists ? b[at] : 0.0f;
            }
        }
        __syncwarp();
        const u32 count = min(DEPTH, product.depth - first);
#pragma unroll 4
        for (u32 k = 0; k < count; ++k) {
            float value = 0.0f;
            if (product.b_column != 1) {
                value = columns[k][lane];
            } else if (column < product.columns) {
                value = b[u64{first + k} * product.b_depth + column];
            }
            if (has_ones && column == product.columns) value = 1.0f;
#pragma unroll
            for (u32 row = 0; row < ROWS; row += 4) {
                const Floats<4> four = load<4>(&rows[k][row]);
#pragma unroll
                for (u32 i = 0; i < 4; ++i) sums[row + i] += four.at[i] * value;
            }
        }
    }
}

/// The block's part of a product. `ones`, where it exists, becomes the product with a column of ones: `rows` values.
__device__ __forceinline__ void run(const Product& product, Shared& shared, u32 block, const float* a, const float* b,
                                    const float* bias, float* c, float* ones) {
    const u32 lane = lane_index(), warp = warp_index();
    const u32 part = warp % product.split;
    const u32 tile = block % product.column_blocks * (WARPS / product.split) + warp / product.split;
    const u32 first_row = block / product.column_blocks * ROWS, column = tile * COLUMNS + lane;
    float sums[ROWS];
    multiply(product, shared, a, b, first_row, tile * COLUMNS, part, ones != nullptr, sums);
    if (product.split > 1) {
        // The parts in order, over the memory that the rows were in.
        float* partial = &shared.b[0][0][0];
#pragma unroll
        for (u32 row = 0; row < ROWS; ++row) {
            __syncthreads();
            partial[threadIdx.x] = sums[row];
            __syncthreads();
            if (part == 0) {
                for (u32 other = 1; other < product.split; ++other) sums[row] += partial[threadIdx.x + 32 * other];
            }
        }
        if (part != 0) return;
    }
    const float start = bias != nullptr && column < product.columns ? bias[column] : 0.0f;
#pragma unroll
    for (u32 row = 0; row < ROWS; ++row) {
        if (first_row + row >= product.rows) continue;
        if (column < product.columns) {
            c[u64{first_row + row} * product.c_row + u64{column} * product.c_column] = sums[row] + start;
        } else if (ones != nullptr && column == product.columns) {
            ones[first_row + row] = sums[row];
        }
    }
}

} // namespace linear

/// `y = x w + bias`. Grid: x = 16 rows, columns (fastest); y = lane.
extern "C" __global__ void __launch_bounds__(linear::THREADS)
    linear_forward(linear::Product product, Lanes<const float> x, Lanes<const float> w, Lanes<const float> bias,
                   Lanes<float> y) {
    __shared__ linear::Shared shared;
    const u32 lane = blockIdx.y;
    linear::run(product, shared, blockIdx.x, x[lane], w[lane], bias[lane], y[lane], nullptr);
}

/// `dw = x^T dy`, with `db`, the column sums of `dy`, where it is asked for; and `dx = dy w^T`, likewise. Grid: x = the blocks
/// of `dw`, computed as its transpose, then those of `dx`; y = lane.
extern "C" __global__ void __launch_bounds__(linear::THREADS)
    linear_backward(linear::Product weight_product, linear::Product input_product, Lanes<const float> x,
                    Lanes<const float> w, Lanes<const float> dy, Lanes<float> dw, Lanes<float> db, Lanes<float> dx) {
    __shared__ linear::Shared shared;
    const u32 lane = blockIdx.y, weight_blocks = weight_product.row_blocks * weight_product.column_blocks;
    const bool is_weight = blockIdx.x < weight_blocks;
    linear::run(is_weight ? weight_product : input_product, shared, is_weight ? blockIdx.x : blockIdx.x - weight_blocks,
                dy[lane], is_weight ? x[lane] : w[lane], nullptr, is_weight ? dw[lane] : dx[lane],
                is_weight && db.exists() ? db[lane] : nullptr);
}
