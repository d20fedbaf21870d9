// An array that grows and does not fill what it has grown by.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>

namespace mmtp {

template <typename T>
class Grown {
  public:
    std::size_t size() const { return size_; }
    T* data() { return store_.get(); }
    const T* data() const { return store_.get(); }
    T& operator[](std::size_t k) { return store_[k]; }
    const T& operator[](std::size_t k) const { return store_[k]; }

    // Room for `more` behind the last; `added` says how many of them were taken.
    T* room(std::size_t more) {
        if (size_ + more > capacity_) {
            capacity_ = std::max(size_ + more, 2 * capacity_);
            std::unique_ptr<T[]> wider(new T[capacity_]);
            std::copy(store_.get(), store_.get() + size_, wider.get());
            store_ = std::move(wider);
        }
        return store_.get() + size_;
    }
    void added(std::size_t n) { size_ += n; }
    void clear() { size_ = 0; }

  private:
    std::unique_ptr<T[]> store_;
    std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace mmtp
