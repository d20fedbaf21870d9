#include "workers.hpp"

#include "spec.hpp"

namespace mmtp {

Workers::Workers(int threads) {
    require(threads >= 1, "no thread");
    for (int t = 1; t < threads; ++t) others_.emplace_back([this, t] { wait_for_work(t); });
}

Workers::~Workers() {
    {
        const std::lock_guard<std::mutex> held(lock_);
        over_ = true;
    }
    begun_.notify_all();
    for (std::thread& t : others_) t.join();
}

void Workers::each(std::int64_t count, const Task& task) {
    if (others_.empty() || count < 2) {
        for (std::int64_t k = 0; k < count; ++k) task(k, 0);
        return;
    }
    {
        const std::lock_guard<std::mutex> held(lock_);
        task_ = &task;
        count_ = count;
        next_ = 0;
        failure_ = nullptr;
        busy_ = int(others_.size());
        ++loop_;
    }
    begun_.notify_all();
    work(0);
    std::unique_lock<std::mutex> held(lock_);
    ended_.wait(held, [this] { return busy_ == 0; });
    if (failure_) std::rethrow_exception(failure_);
}

void Workers::wait_for_work(int thread) {
    std::int64_t done = 0;
    std::unique_lock<std::mutex> held(lock_);
    while (true) {
        begun_.wait(held, [&] { return over_ || loop_ != done; });
        if (over_) return;
        done = loop_;
        held.unlock();
        work(thread);
        held.lock();
        if (--busy_ == 0) ended_.notify_one();
    }
}

void Workers::work(int thread) {
    try {
        for (std::int64_t k; (k = next_++) < count_;) (*task_)(k, thread);
    } catch (...) {
        next_ = count_;
        const std::lock_guard<std::mutex> held(lock_);
        if (!failure_) failure_ = std::current_exception();
    }
}

}  // namespace mmtp
