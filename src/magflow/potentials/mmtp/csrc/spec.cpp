#include "spec.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <stdexcept>

namespace mmtp {
namespace {

// The gradient of every polynomial sum_k a_k u_k, by mu, in terms of lower monomials.
void add_slopes(Spec& s) {
    std::vector<std::array<int, 3>> powers(s.n_mono, {0, 0, 0});
    std::map<std::array<int, 3>, std::int32_t> index{{powers[0], 0}};
    for (int k = 1; k < s.n_mono; ++k) {
        powers[k] = powers[s.mono_parent[k]];
        ++powers[k][s.mono_axis[k]];
        index[powers[k]] = k;
    }
    s.slope_begin.push_back(0);
    for (int mu = 0; mu < s.n_mu; ++mu) {
        std::map<std::int32_t, Slope> inner;
        for (int k = s.basic_begin[mu]; k < s.basic_begin[mu + 1]; ++k)
            for (int a = 0; a < 3; ++a) {
                auto lower = powers[s.basic_mono[k]];
                if (--lower[a] < 0) continue;
                require(index.count(lower), "a monomial lacks its derivative");
                const std::int32_t mono = index[lower];
                auto& slope = inner.try_emplace(mono, Slope{mono, -1, {-1, -1, -1, -1}, {1.0, 0.0, 0.0, 0.0}}).first->second;
                slope.basic[1 + a] = k;
                slope.power[1 + a] = lower[a] + 1;
            }
        std::vector<Slope> leaf, edge;
        for (int k = s.basic_begin[mu]; k < s.basic_begin[mu + 1]; ++k) {
            const std::int32_t mono = s.basic_mono[k];
            const auto found = inner.find(mono);
            if (found != inner.end())
                found->second.basic[0] = k;
            else if (mono < s.n_inner)
                leaf.push_back({mono, -1, {k, -1, -1, -1}, {1.0, 0.0, 0.0, 0.0}});
            else
                edge.push_back({s.mono_parent[mono], s.mono_axis[mono], {k, -1, -1, -1}, {1.0, 0.0, 0.0, 0.0}});
        }
        for (const auto& x : inner) s.slopes.push_back(x.second);
        s.leaf_begin.push_back(std::int32_t(s.slopes.size()));
        s.slopes.insert(s.slopes.end(), leaf.begin(), leaf.end());
        s.edge_begin.push_back(std::int32_t(s.slopes.size()));
        s.slopes.insert(s.slopes.end(), edge.begin(), edge.end());
        s.slope_begin.push_back(std::int32_t(s.slopes.size()));
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
    require(std::is_sorted(s.mono_rank.begin(), s.mono_rank.end()), "monomials are not in the order of their ranks");
    s.n_inner = int(std::lower_bound(s.mono_rank.begin(), s.mono_rank.end(), std::max(1, s.mono_rank.back())) - s.mono_rank.begin());
    // The kernels want the basic moments ordered by mu, then by rank.
    std::vector<std::int32_t> order(s.n_basic), place(s.n_basic);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return s.basic_mu[a] != s.basic_mu[b] ? s.basic_mu[a] < s.basic_mu[b] : s.basic_mono[a] < s.basic_mono[b];
    });
    const auto mu = s.basic_mu, of_mono = s.basic_mono;
    s.basic_begin.assign(n_mu + 1, 0);
    for (int k = 0; k < s.n_basic; ++k) {
        s.basic_mu[k] = mu[order[k]];
        s.basic_mono[k] = of_mono[order[k]];
        place[order[k]] = k;
        ++s.basic_begin[s.basic_mu[k] + 1];
    }
    std::partial_sum(s.basic_begin.begin(), s.basic_begin.end(), s.basic_begin.begin());
    for (int m = 0; m < n_mu; ++m) {
        const auto end = s.basic_mono.begin() + s.basic_begin[m + 1];
        s.edge_basic.push_back(std::int32_t(std::lower_bound(s.basic_mono.begin() + s.basic_begin[m], end, s.n_inner) - s.basic_mono.begin()));
    }
    add_slopes(s);
    const auto placed = [&](std::int32_t moment) { return moment < s.n_basic ? place[moment] : moment; };
    s.n_moments = s.n_basic;
    for (std::size_t k = 0; k < shape.mult.size(); ++k) {
        const std::int32_t* t = shape.times.data() + 3 * k;
        require(t[0] >= 0 && t[1] >= 0 && t[0] < t[2] && t[1] < t[2] && t[2] >= s.n_basic, "bad product");
        s.times.push_back({placed(t[0]), placed(t[1]), t[2], shape.mult[k]});
        s.n_moments = std::max(s.n_moments, t[2] + 1);
    }
    for (int k = 0; k < s.n_scalar; ++k) {
        require(shape.scalar[k] >= 0 && shape.scalar[k] < s.n_moments, "bad scalar");
        s.scalar.push_back(placed(shape.scalar[k]));
    }
    return s;
}

}  // namespace mmtp
