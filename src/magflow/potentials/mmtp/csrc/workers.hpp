// Threads that share the items of a loop.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mmtp {

class Workers {
  public:
    // `threads` with the one that calls. Throws std::invalid_argument unless there is one.
    explicit Workers(int threads);
    Workers(const Workers&) = delete;
    ~Workers();
    int threads() const { return int(others_.size()) + 1; }

    using Task = std::function<void(std::int64_t item, int thread)>;
    // Does the task for every item below `count`, in any order; throws what the first that failed threw, when all have ended.
    void each(std::int64_t count, const Task& task);

  private:
    void wait_for_work(int thread);
    void work(int thread);

    std::vector<std::thread> others_;
    std::mutex lock_;
    std::condition_variable begun_, ended_;
    std::int64_t loop_ = 0;  // number of the loop at hand
    int busy_ = 0;
    bool over_ = false;
    const Task* task_ = nullptr;
    std::int64_t count_ = 0;
    std::atomic<std::int64_t> next_{0};
    std::exception_ptr failure_;
};

}  // namespace mmtp
