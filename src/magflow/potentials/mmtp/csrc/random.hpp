// Random numbers by counting: the same for one run whatever runs beside it and wherever it was interrupted.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace mmtp {

// What a number is for; the same values as in magflow.core.random.
enum class Purpose : std::uint32_t { noise = 0, velocity = 1, piston = 2 };

// Philox 4x32 with 10 rounds: Salmon et al., SC11, doi:10.1145/2063384.2063405.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::uint64_t key) {
    std::uint32_t k0 = std::uint32_t(key), k1 = std::uint32_t(key >> 32);
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const std::uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
        c = {std::uint32_t(b >> 32) ^ c[1] ^ k0, std::uint32_t(b), std::uint32_t(a >> 32) ^ c[3] ^ k1, std::uint32_t(a)};
    }
    return c;
}

// Three standard normal numbers of one atom at one step, by Box and Muller.
inline void normals(std::uint64_t key, std::uint64_t step, std::uint32_t atom, Purpose purpose, double out[3]) {
    const auto bits = philox({std::uint32_t(step), std::uint32_t(step >> 32), atom, std::uint32_t(purpose)}, key);
    double u[4];
    for (int k = 0; k < 4; ++k) u[k] = (bits[k] + 0.5) * 0x1p-32;
    const double turn = 6.283185307179586, r0 = std::sqrt(-2.0 * std::log(u[0])), r1 = std::sqrt(-2.0 * std::log(u[2]));
    out[0] = r0 * std::cos(turn * u[1]);
    out[1] = r0 * std::sin(turn * u[1]);
    out[2] = r1 * std::cos(turn * u[3]);
}

}  // namespace mmtp
