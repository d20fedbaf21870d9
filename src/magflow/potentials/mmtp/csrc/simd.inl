// Chebyshev polynomials, the neighbours of a block and the contraction of its moments, in lanes: for T see dual.inl.
//
// Included once per instruction set, inside an anonymous namespace, after dual.inl. No standard-library templates here: one that is
// instantiated with wider instructions must not be shared with the baseline.

inline double sum(V x) {
    double s = 0.0;
    for (int l = 0; l < W; ++l) s += x[l];
    return s;
}

// T_n(x) and T_n'(x); beyond [-1, 1] the tangent at the end is followed when `extend` is set.
template <typename T>
inline void chebyshev(T x, int n, bool extend, T* t, T* dt) {
    const T one = constant<T>(1.0);
    T beyond = T{};
    if (extend) {
        const T clamped = within_one(x);
        beyond = x - clamped;
        x = clamped;
    }
    t[0] = one;
    dt[0] = T{};
    if (n > 1) {
        t[1] = x;
        dt[1] = one;
    }
    const T twice = 2.0 * x;
    for (int k = 2; k < n; ++k) {
        t[k] = twice * t[k - 1] - t[k - 2];
        dt[k] = twice * dt[k - 1] + (2.0 * t[k - 1] - dt[k - 2]);
    }
    if (extend)
        for (int k = 1; k < n; ++k) t[k] += dt[k] * beyond;
}

// T_n(x) alone.
template <typename T>
inline void chebyshev(T x, int n, T* t) {
    t[0] = constant<T>(1.0);
    if (n > 1) t[1] = x;
    const T twice = 2.0 * x;
    for (int k = 2; k < n; ++k) t[k] = twice * t[k - 1] - t[k - 2];
}

// The derivative of the series sum_k c_k T_k, k < n, times `scale`, as a series of n - 1 terms; out[n - 1] is set to 0.
template <typename T>
inline void chebyshev_slope(const T* c, int n, double scale, T* out) {
    out[n - 1] = T{};
    for (int k = n - 1; k > 0; --k) {
        out[k - 1] = 2.0 * k * scale * c[k];
        if (k + 1 < n) out[k - 1] += out[k + 1];
    }
    out[0] *= 0.5;
}

// Adds x, y, z, m of every lane to the four numbers of that lane's atom, or puts them there.
inline void scatter(V x, V y, V z, V m, const int32_t* atom, double* target, bool put) {
#if MMTP_LANES == 8
    const V part[4] = {__builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14), __builtin_shufflevector(z, m, 0, 8, 2, 10, 4, 12, 6, 14),
                       __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15), __builtin_shufflevector(z, m, 1, 9, 3, 11, 5, 13, 7, 15)};
#elif MMTP_LANES == 4
    const V part[4] = {__builtin_shufflevector(x, y, 0, 4, 2, 6), __builtin_shufflevector(z, m, 0, 4, 2, 6),
                       __builtin_shufflevector(x, y, 1, 5, 3, 7), __builtin_shufflevector(z, m, 1, 5, 3, 7)};
#else
    const V part[4] = {__builtin_shufflevector(x, y, 0, 2), __builtin_shufflevector(z, m, 0, 2), __builtin_shufflevector(x, y, 1, 3),
                       __builtin_shufflevector(z, m, 1, 3)};
#endif
    const Pair* row = reinterpret_cast<const Pair*>(part);
    for (int l = 0; l < W; ++l) {
        Pair* t = reinterpret_cast<Pair*>(target + 4 * int64_t(atom[l]));
        const Pair* r = row + (l % 2) * W + l / 2;
        t[0] = put ? r[0] : t[0] + r[0];
        t[1] = put ? r[W / 2] : t[1] + r[W / 2];
    }
}

// 1 in the lanes whose atom is of a type, 0 in the others; false where there is none.
inline bool lanes_of(const int32_t* type, int wanted, V& mask) {
    bool any = false;
    for (int l = 0; l < W; ++l) {
        mask[l] = type[l] == wanted;
        any |= type[l] == wanted;
    }
    return any;
}

// psi_beta(m_i) folded into the radial coefficients: [type j][mu][gamma][zeta]; with M also `d`, by m_i. `type`: of each lane.
template <typename T, int NPHI, bool M>
inline void fold(const Spec& s, const Parameters& p, const int32_t* type, const T* psi, const T* dpsi, T* c, T* d) {
    const int n_phi = NPHI ? NPHI : s.n_phi;
    const int32_t *beta = s.pair_beta.data(), *of = s.of_gamma.data(), *begin = s.gamma_begin.data();
    bool first = true;
    for (int t = 0; t < s.n_types; ++t) {
        V mask;
        if (!lanes_of(type, t, mask)) continue;
        T *value = c, *slope = d;
        const double* q = p.radial + int64_t(t) * s.n_types * s.n_mu * s.n_phi * s.n_pairs;
        for (int tm = 0; tm < s.n_types * s.n_mu; ++tm, q += int64_t(s.n_phi) * s.n_pairs)
            for (int g = 0; g < s.n_psi; ++g, value += n_phi, slope += n_phi) {
                T x[NPHI ? NPHI : kMaxPhi], dx[NPHI ? NPHI : kMaxPhi];
                for (int z = 0; z < n_phi; ++z) {
                    x[z] = first ? T{} : value[z];
                    if (M) dx[z] = first ? T{} : slope[z];
                }
                for (int k = begin[g]; k < begin[g + 1]; ++k) {
                    const T mine = mask * psi[beta[of[k]]], by_own = mask * dpsi[beta[of[k]]];
                    const double* w = q + of[k];
#pragma GCC unroll 24
                    for (int z = 0; z < n_phi; ++z) {
                        x[z] += w[z * s.n_pairs] * mine;
                        if (M) dx[z] += w[z * s.n_pairs] * by_own;
                    }
                }
                for (int z = 0; z < n_phi; ++z) {
                    value[z] = x[z];
                    if (M) slope[z] = dx[z];
                }
            }
        first = false;
    }
}

typedef double LoosePair __attribute__((vector_size(16), aligned(8), may_alias));

// (a, b) of every lane as one vector of a and one of b.
inline void turn(const Pair* of_lane, V& a, V& b) {
#if MMTP_LANES == 8
    typedef double Four __attribute__((vector_size(32)));
    Four row[4];  // lanes 0 and 2, 1 and 3, 4 and 6, 5 and 7
    for (int k = 0; k < 4; ++k) row[k] = __builtin_shufflevector(of_lane[k + 2 * (k / 2)], of_lane[k + 2 * (k / 2) + 2], 0, 1, 2, 3);
    const V even = __builtin_shufflevector(row[0], row[2], 0, 1, 2, 3, 4, 5, 6, 7), odd = __builtin_shufflevector(row[1], row[3], 0, 1, 2, 3, 4, 5, 6, 7);
    a = __builtin_shufflevector(even, odd, 0, 8, 2, 10, 4, 12, 6, 14);
    b = __builtin_shufflevector(even, odd, 1, 9, 3, 11, 5, 13, 7, 15);
#elif MMTP_LANES == 4
    const V even = __builtin_shufflevector(of_lane[0], of_lane[2], 0, 1, 2, 3), odd = __builtin_shufflevector(of_lane[1], of_lane[3], 0, 1, 2, 3);
    a = __builtin_shufflevector(even, odd, 0, 4, 2, 6);
    b = __builtin_shufflevector(even, odd, 1, 5, 3, 7);
#else
    a = __builtin_shufflevector(of_lane[0], of_lane[1], 0, 2);
    b = __builtin_shufflevector(of_lane[0], of_lane[1], 1, 3);
#endif
}

// Vectors to the neighbours of a block and their moments, [slot] x, y, z, m; empty lanes sit beyond the cutoff, where
// everything vanishes. All slots in one go, so that the processor waits for many of them at a time.
inline void gather(const Spec& s, const State& state, const int32_t* pair, const int32_t* atom, int64_t slots, V* out) {
    const double beyond[4] = {0.0, 0.0, 2.0 * s.cutoff, 0.0};
    for (int64_t k = 0; k < slots; ++k, pair += W, atom += W, out += 4) {
        Pair xy[W], zm[W];
        for (int l = 0; l < W && state.row; ++l) {
            const double* v = pair[l] >= 0 ? state.row + 4 * int64_t(pair[l]) : beyond;
            xy[l] = *reinterpret_cast<const LoosePair*>(v);
            zm[l] = *reinterpret_cast<const LoosePair*>(v + 2);
        }
        for (int l = 0; l < W && !state.row; ++l) {
            const double* v = pair[l] >= 0 ? state.vector + 3 * int64_t(pair[l]) : beyond;
            xy[l] = *reinterpret_cast<const LoosePair*>(v);
            zm[l] = Pair{v[2], state.moment[atom[l]]};
        }
        turn(xy, out[0], out[1]);
        turn(zm, out[2], out[3]);
    }
}

// The tangents of the same numbers: those of the neighbours.
inline void gather_tangents(const int32_t* atom, int64_t slots, const double* tangent, V* out) {
    for (int64_t k = 0; k < slots; ++k, atom += W, out += 4) {
        Pair xy[W], zm[W];
        for (int l = 0; l < W; ++l) {
            const double* v = tangent + 4 * int64_t(atom[l]);
            xy[l] = *reinterpret_cast<const LoosePair*>(v);
            zm[l] = *reinterpret_cast<const LoosePair*>(v + 2);
        }
        turn(xy, out[0], out[1]);
        turn(zm, out[2], out[3]);
    }
}

// The argument of phi is slope x d - shift. Below `least` its tangent there is followed.
struct Radial {
    double slope, shift, least;
    explicit Radial(const Spec& s)
        : slope(2.0 / (s.cutoff - s.r_min)), shift((s.cutoff + s.r_min) / (s.cutoff - s.r_min)), least(s.extend ? -1.0 : -INFINITY) {}
};

// One neighbour per lane: unit vector u, distance d, moment; (R_cut - d)^2 = fc; phi, psi and their derivatives.
template <typename T, int NPHI, int NPSI>
struct Neighbour {
    T u[3], r[3], d, inverse, fc, dfc, x;  // x: the argument of phi
    T phi[NPHI ? NPHI : kMaxPhi], dphi[NPHI ? NPHI : kMaxPhi], psi[NPSI ? NPSI : kMaxPsi], dpsi[NPSI ? NPSI : kMaxPsi];

    // Everything but phi. `where`: vector and moment. dpsi is by moment (muB).
    inline void place(const Spec& s, const Radial& radial, const State& state, const T* where, double scale) {
        const int n_psi = NPSI ? NPSI : s.n_psi;
        for (int a = 0; a < 3; ++a) r[a] = where[a];
        d = root(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
        inverse = reciprocal(d);
        for (int a = 0; a < 3; ++a) u[a] = r[a] * inverse;
        const T t = positive(s.cutoff - d);
        fc = t * t;
        dfc = -2.0 * t;
        x = at_most(d, s.cutoff) * radial.slope - radial.shift;
        if (n_psi == 1) {
            psi[0] = constant<T>(1.0);
            dpsi[0] = T{};
            return;
        }
        chebyshev(where[3] * (state.sign * scale), n_psi, s.extend, psi, dpsi);
        for (int k = 0; k < n_psi; ++k) dpsi[k] *= scale;
    }

    // With phi and dphi, by distance (A).
    inline void load(const Spec& s, const Radial& radial, const State& state, const T* where, double scale) {
        const int n_phi = NPHI ? NPHI : s.n_phi;
        place(s, radial, state, where, scale);
        chebyshev(x, n_phi, s.extend, phi, dphi);
        for (int k = 0; k < n_phi; ++k) dphi[k] *= radial.slope;
    }
};

inline double moment_scale(const Spec& s, int type) { return s.n_psi > 1 ? 1.0 / s.max_moment.data()[type] : 0.0; }

// psi_beta(m_i) of the atoms of a block and the derivative by m_i.
template <typename T>
inline void own_moments(const Spec& s, const Lanes& lanes, const State& state, int64_t block, T* psi, T* dpsi) {
    V m, dm = V{}, scale;
    for (int l = 0; l < W; ++l) {
        const int64_t atom = lanes.atom[block * W + l];
        m[l] = state.sign * state.moment[atom];
        if (has_tangent<T>) dm[l] = state.sign * state.tangent[4 * atom + 3];
        scale[l] = moment_scale(s, lanes.type[block * W + l]);
    }
    chebyshev(scale * moving<T>(m, dm), s.n_psi, s.extend, psi, dpsi);
    for (int b = 0; b < s.n_psi; ++b) dpsi[b] = scale * dpsi[b];
}

// The basic moments, and the products that lead from them to the basis functions.
template <typename T>
inline void contract(const Spec& s, const T* sum, T* moment) {
    for (int k = 0; k < s.n_moments; ++k) moment[k] = T{};
    for (const Share *x = s.shares.data(), *end = x + s.shares.size(); x != end; ++x) moment[x->basic] += x->factor * sum[x->sum];
    const Times *x = s.times.data(), *end = x + s.times.size();
    while (x != end) {
        const int32_t out = x->out;
        T total = T{};
        for (; x != end && x->out == out; ++x) total += x->mult * moment[x->left] * moment[x->right];
        moment[out] = total;
    }
}

// From the adjoints of the basis functions to those of all moments and of the sums.
template <typename T>
inline void contract_back(const Spec& s, const T* moment, T* adjoint, T* of_sum) {
    const Times *begin = s.times.data(), *x = begin + s.times.size();
    while (x != begin) {
        const int32_t out = x[-1].out;
        const T by_out = adjoint[out];
        for (; x != begin && x[-1].out == out; --x) {
            const T w = x[-1].mult * by_out, left = moment[x[-1].left];
            adjoint[x[-1].left] += w * moment[x[-1].right];
            adjoint[x[-1].right] += w * left;
        }
    }
    for (int k = 0; k < s.n_sum; ++k) of_sum[k] = T{};
    for (const Share *y = s.shares.data(), *end = y + s.shares.size(); y != end; ++y) of_sum[y->sum] += y->factor * adjoint[y->basic];
}
