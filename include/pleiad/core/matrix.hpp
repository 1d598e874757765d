// Row-major numbers, owned (Matrix, Buffer) or viewed (MatrixView). Rows are tokens wherever tokens appear.
// Storage is 64-byte aligned and zero-initialised on resize. Read next: param.hpp.
#pragma once
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "pleiad/core/error.hpp"
#include "pleiad/core/real.hpp"

namespace pleiad {

/// A rows x cols window onto numbers owned elsewhere; consecutive rows are `stride` elements apart.
template <class T>
struct View {
  T* data = nullptr;
  i64 rows = 0;
  i64 cols = 0;
  i64 stride = 0;

  View() = default;
  View(T* d, i64 r, i64 c) : data(d), rows(r), cols(c), stride(c) {}
  View(T* d, i64 r, i64 c, i64 s) : data(d), rows(r), cols(c), stride(s) {}
  // A view of mutable numbers may be used where constant ones are expected.
  template <class U>
    requires(std::is_same_v<const U, T>)
  View(const View<U>& o) : data(o.data), rows(o.rows), cols(o.cols), stride(o.stride) {}

  T* row(i64 i) const { return data + i * stride; }
  T& operator()(i64 i, i64 j) const { return data[i * stride + j]; }
  i64 size() const { return rows * cols; }
  bool contiguous() const { return stride == cols || rows <= 1; }

  View row_range(i64 begin, i64 count) const { return {data + begin * stride, count, cols, stride}; }
  View col_range(i64 begin, i64 count) const { return {data + begin, rows, count, stride}; }
  /// The numbers in order; pre: contiguous().
  std::span<T> flat() const {
    PLEIAD_CHECK(contiguous(), "flat() of a strided view");
    return {data, static_cast<std::size_t>(size())};
  }
};

using MatrixView = View<real>;
using ConstMatrixView = View<const real>;

/// Memory for std::free(), on a 64-byte boundary; where it is large, of pages as large as the system has, so that rows read at random from
/// gigabytes do not each wait for the address of their page. errors: std::bad_alloc.
void* allocate_aligned(std::size_t bytes);

/// Owned aligned array. Growing or shrinking discards the content and zeroes the new one.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(i64 n) { resize(n); }

  void resize(i64 n) {
    reserve_uninitialised(n);
    if (n > 0) std::memset(static_cast<void*>(data_.get()), 0, static_cast<std::size_t>(n) * sizeof(T));
  }
  /// For content that is written in full before it is read.
  void reserve_uninitialised(i64 n) {
    PLEIAD_CHECK(n >= 0, "buffer of {} elements", n);
    if (n > capacity_) {
      data_.reset();  // the old numbers go first: both need not fit
      capacity_ = 0;
      data_.reset(static_cast<T*>(allocate_aligned(static_cast<std::size_t>(n) * sizeof(T))));
      capacity_ = n;
    }
    size_ = n;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  i64 size() const { return size_; }
  T& operator[](i64 i) { return data_.get()[i]; }
  const T& operator[](i64 i) const { return data_.get()[i]; }
  std::span<T> span() { return {data_.get(), static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const { return {data_.get(), static_cast<std::size_t>(size_)}; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  i64 size_ = 0;
  i64 capacity_ = 0;
};

/// Owned row-major matrix of reals; zero when made.
class Matrix {
 public:
  Matrix() = default;
  Matrix(i64 rows, i64 cols) { resize(rows, cols); }

  void resize(i64 rows, i64 cols) {
    buffer_.resize(rows * cols);
    rows_ = rows;
    cols_ = cols;
  }
  void resize_uninitialised(i64 rows, i64 cols) {
    buffer_.reserve_uninitialised(rows * cols);
    rows_ = rows;
    cols_ = cols;
  }
  i64 rows() const { return rows_; }
  i64 cols() const { return cols_; }
  real* data() { return buffer_.data(); }
  const real* data() const { return buffer_.data(); }
  real* row(i64 i) { return buffer_.data() + i * cols_; }
  const real* row(i64 i) const { return buffer_.data() + i * cols_; }
  real& operator()(i64 i, i64 j) { return buffer_[i * cols_ + j]; }
  real operator()(i64 i, i64 j) const { return buffer_[i * cols_ + j]; }
  MatrixView view() { return {data(), rows_, cols_}; }
  ConstMatrixView view() const { return {data(), rows_, cols_}; }
  operator MatrixView() { return view(); }
  operator ConstMatrixView() const { return view(); }
  std::span<real> flat() { return buffer_.span(); }
  std::span<const real> flat() const { return buffer_.span(); }

 private:
  Buffer<real> buffer_;
  i64 rows_ = 0;
  i64 cols_ = 0;
};

inline void copy_rows(ConstMatrixView from, MatrixView to) {
  PLEIAD_CHECK(from.rows == to.rows && from.cols == to.cols, "copy of {}x{} into {}x{}", from.rows, from.cols, to.rows, to.cols);
  for (i64 i = 0; from.cols > 0 && i < from.rows; ++i) {  // rows of nothing may have no address
    std::memcpy(to.row(i), from.row(i), static_cast<std::size_t>(from.cols) * sizeof(real));
  }
}

}  // namespace pleiad
