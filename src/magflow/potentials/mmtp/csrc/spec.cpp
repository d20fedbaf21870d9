#include "spec.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace mmtp {
namespace {

double binomial(int n, int k) {
    double out = 1.0;
    for (int i = 1; i <= k; ++i) out *= double(n - k + i) / i;
    return out;
}

// Basic moments as combinations of sums over monomials that are at most linear in z: z^2 = 1 - x^2 - y^2, see sphere.inl.
void add_sums(Spec& s) {
    std::vector<std::array<int, 3>> powers(s.n_mono, {0, 0, 0});
    for (int k = 1; k < s.n_mono; ++k) {
        powers[k] = powers[s.mono_parent[k]];
        ++powers[k][s.mono_axis[k]];
    }
    s.reach.assign(s.n_mu, 0);
    for (int k = 0; k < s.n_basic; ++k) {
        const auto [a, b, c] = powers[s.basic_mono[k]];
        std::int32_t& reach = s.reach[s.basic_mu[k]];
        reach = std::max(reach, a + b + c);
        s.most_reach = std::max(s.most_reach, reach);
    }
    for (int mu = 0; mu < s.n_mu; ++mu) {
        s.sum_begin.push_back(s.n_sum);
        s.n_sum += (s.reach[mu] + 1) * (s.reach[mu] + 1);
    }
    for (int k = 0; k < s.n_basic; ++k) {
        const auto [a, b, c] = powers[s.basic_mono[k]];
        const int mu = s.basic_mu[k], first = s.sum_begin[mu] + (c % 2 ? planar(s.reach[mu] + 1) : 0);
        for (int p = 0; p <= c / 2; ++p)
            for (int y = 0; y <= p; ++y) {
                const double factor = (p % 2 ? -1.0 : 1.0) * binomial(c / 2, p) * binomial(p, y);
                s.shares.push_back({k, first + planar(a + b + 2 * p) + b + 2 * y, factor});
            }
    }
}

}  // namespace

Spec make_spec(const Shape& shape) {
    const int n_mu = shape.n_mu, n_phi = shape.n_phi, n_psi = shape.n_psi;
    require(shape.pairs.size() % 2 == 0 && shape.basic.size() % 2 == 0 && shape.mono.size() % 3 == 0, "tables of another width");
    require(!shape.pairs.empty() && !shape.basic.empty() && !shape.mono.empty(), "empty tables");
    require(shape.times.size() == 3 * shape.mult.size(), "products and multiplicities differ in number");
    require(n_phi >= 1 && n_phi <= 24 && n_psi >= 1 && n_psi <= 6 && n_mu >= 1 && n_mu <= 8, "size out of range");
    require(shape.cutoff > shape.r_min && int(shape.max_moment.size()) == shape.n_types, "range out of order");
    Spec s;
    s.n_types = shape.n_types;
    s.n_mu = n_mu;
    s.n_phi = n_phi;
    s.n_psi = n_psi;
    s.r_min = shape.r_min;
    s.cutoff = shape.cutoff;
    s.extend = shape.extend;
    s.max_moment = shape.max_moment;
    s.n_pairs = int(shape.pairs.size() / 2);
    s.n_basic = int(shape.basic.size() / 2);
    s.n_mono = int(shape.mono.size() / 3);
    s.n_scalar = int(shape.scalar.size());
    for (int k = 0; k < s.n_pairs; ++k) {
        s.pair_beta.push_back(shape.pairs[2 * k]);
        s.pair_gamma.push_back(shape.pairs[2 * k + 1]);
        require(s.pair_beta[k] >= 0 && s.pair_beta[k] < n_psi && s.pair_gamma[k] >= 0 && s.pair_gamma[k] < n_psi, "bad pair");
    }
    s.gamma_begin.push_back(0);
    for (int g = 0; g < n_psi; ++g) {
        for (int k = 0; k < s.n_pairs; ++k)
            if (s.pair_gamma[k] == g) s.of_gamma.push_back(k);
        s.gamma_begin.push_back(std::int32_t(s.of_gamma.size()));
    }
    for (int k = 0; k < s.n_basic; ++k) {
        s.basic_mu.push_back(shape.basic[2 * k]);
        s.basic_mono.push_back(shape.basic[2 * k + 1]);
        require(s.basic_mu[k] >= 0 && s.basic_mu[k] < n_mu && s.basic_mono[k] >= 0 && s.basic_mono[k] < s.n_mono, "bad basic");
    }
    for (int k = 0; k < s.n_mono; ++k) {
        s.mono_parent.push_back(shape.mono[3 * k]);
        s.mono_axis.push_back(shape.mono[3 * k + 1]);
        s.mono_rank.push_back(shape.mono[3 * k + 2]);
        require(s.mono_parent[k] >= 0 && s.mono_parent[k] <= k && s.mono_axis[k] >= 0 && s.mono_axis[k] < 3, "bad monomial");
    }
    add_sums(s);
    s.n_moments = s.n_basic;
    for (std::size_t k = 0; k < shape.mult.size(); ++k) {
        const std::int32_t* t = shape.times.data() + 3 * k;
        require(t[0] >= 0 && t[1] >= 0 && t[0] < t[2] && t[1] < t[2] && t[2] >= s.n_basic, "bad product");
        s.times.push_back({t[0], t[1], t[2], shape.mult[k]});
        s.n_moments = std::max(s.n_moments, t[2] + 1);
    }
    for (int k = 0; k < s.n_scalar; ++k) {
        require(shape.scalar[k] >= 0 && shape.scalar[k] < s.n_moments, "bad scalar");
        s.scalar.push_back(shape.scalar[k]);
    }
    // Factors come before their products, so this order is one that can be followed.
    std::stable_sort(s.times.begin(), s.times.end(), [](const Times& a, const Times& b) { return a.out < b.out; });
    return s;
}

}  // namespace mmtp
