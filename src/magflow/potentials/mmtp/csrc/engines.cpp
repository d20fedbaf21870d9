#include <stdexcept>

#include "spec.hpp"

namespace mmtp {

const std::vector<const Engine*>& engines() {
    static const std::vector<const Engine*> found = [] {
        std::vector<const Engine*> list;
#ifdef MMTP_X86
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
            list.push_back(&engine_avx512);
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list.push_back(&engine_avx2);
#endif
        list.push_back(&engine_baseline);
        return list;
    }();
    return found;
}

const Engine& engine(const std::string& name) {
    for (const auto* e : engines())
        if (name.empty() || name == e->name) return *e;
    throw std::invalid_argument("instruction set not available here: " + name);
}

}  // namespace mmtp
