// Room for doubles on a cache line, not filled.
#pragma once
#include <cstdint>
#include <memory>

namespace mmtp {

class Room {
  public:
    explicit Room(std::int64_t size) : store_(new double[size + 8]) {}
    double* data() const { return reinterpret_cast<double*>((reinterpret_cast<std::uintptr_t>(store_.get()) + 63) / 64 * 64); }

  private:
    std::unique_ptr<double[]> store_;
};

}  // namespace mmtp
