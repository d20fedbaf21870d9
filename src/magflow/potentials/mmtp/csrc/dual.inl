// A value and its derivative along one direction (forward-mode differentiation). The kernel that gives the forces is
// written for a type T: V, vectors of doubles, or Dual, which adds the tangent of all that it computes and so turns
// dE/dr and dE/dm into products of the Hessian with the direction.
//
// Included once per instruction set, inside an anonymous namespace.

constexpr int W = MMTP_LANES;
typedef double V __attribute__((vector_size(8 * MMTP_LANES)));
typedef double Pair __attribute__((vector_size(16)));

#define MMTP_INLINE inline __attribute__((always_inline))

inline V splat(double x) { return x - V{}; }

struct Dual {
    V v, d;
};

MMTP_INLINE Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, a.d + b.d}; }
MMTP_INLINE Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, a.d - b.d}; }
MMTP_INLINE Dual operator*(const Dual& a, const Dual& b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
MMTP_INLINE Dual operator*(V a, const Dual& b) { return {a * b.v, a * b.d}; }
MMTP_INLINE Dual operator*(double a, const Dual& b) { return {a * b.v, a * b.d}; }
MMTP_INLINE Dual operator*(const Dual& a, double b) { return {a.v * b, a.d * b}; }
MMTP_INLINE Dual operator-(const Dual& a, double b) { return {a.v - b, a.d}; }
MMTP_INLINE Dual operator-(double a, const Dual& b) { return {a - b.v, -b.d}; }
MMTP_INLINE void operator+=(Dual& a, const Dual& b) { a = a + b; }
MMTP_INLINE void operator+=(Dual& a, double b) { a.v += b; }
MMTP_INLINE void operator*=(Dual& a, double b) { a = a * b; }

// A constant.
template <typename T>
MMTP_INLINE T constant(double);
template <>
MMTP_INLINE V constant<V>(double x) {
    return splat(x);
}
template <>
MMTP_INLINE Dual constant<Dual>(double x) {
    return {splat(x), V{}};
}

// From a value and its tangent.
template <typename T>
MMTP_INLINE T moving(V value, V tangent);
template <>
MMTP_INLINE V moving<V>(V value, V) {
    return value;
}
template <>
MMTP_INLINE Dual moving<Dual>(V value, V tangent) {
    return {value, tangent};
}

template <typename T>
constexpr bool has_tangent = false;
template <>
constexpr bool has_tangent<Dual> = true;

// What a kernel for T puts out: of a Dual its tangent.
MMTP_INLINE V told(V x) { return x; }
MMTP_INLINE V told(const Dual& x) { return x.d; }

inline V root(V x) {
#if MMTP_LANES == 8 && defined(__AVX512F__)
    return (V)_mm512_sqrt_pd((__m512d)x);
#elif MMTP_LANES == 4 && defined(__AVX__)
    return (V)_mm256_sqrt_pd((__m256d)x);
#else
    V v;
    for (int l = 0; l < W; ++l) v[l] = sqrt(x[l]);
    return v;
#endif
}

MMTP_INLINE Dual root(const Dual& x) {
    const V r = root(x.v);
    return {r, 0.5 * x.d / r};
}

MMTP_INLINE V reciprocal(V x) { return 1.0 / x; }
MMTP_INLINE Dual reciprocal(const Dual& x) {
    const V r = 1.0 / x.v;
    return {r, -x.d * r * r};
}

MMTP_INLINE V positive(V x) { return x > V{} ? x : V{}; }
MMTP_INLINE Dual positive(const Dual& x) { return {positive(x.v), x.v > V{} ? x.d : V{}}; }

MMTP_INLINE V at_most(V x, double most) { return x < most ? x : splat(most); }
MMTP_INLINE Dual at_most(const Dual& x, double most) { return {at_most(x.v, most), x.v < most ? x.d : V{}}; }

MMTP_INLINE V at_least(V x, double least) { return x > least ? x : splat(least); }
MMTP_INLINE Dual at_least(const Dual& x, double least) { return {at_least(x.v, least), x.v > least ? x.d : V{}}; }

// Whether a lane is smaller.
MMTP_INLINE bool any_below(V x, double least) {
#if MMTP_LANES == 8 && defined(__AVX512F__)
    return _mm512_cmp_pd_mask((__m512d)x, _mm512_set1_pd(least), _CMP_LT_OQ) != 0;
#elif MMTP_LANES == 4 && defined(__AVX__)
    return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)x, _mm256_set1_pd(least), _CMP_LT_OQ)) != 0;
#else
    bool any = false;
    for (int l = 0; l < W; ++l) any |= x[l] < least;
    return any;
#endif
}
MMTP_INLINE bool any_below(const Dual& x, double least) { return any_below(x.v, least); }

// The nearest number in [-1, 1].
MMTP_INLINE V within_one(V x) {
    const V one = splat(1.0);
    return x > one ? one : (x < -one ? -one : x);
}
MMTP_INLINE Dual within_one(const Dual& x) {
    const V inside = within_one(x.v);
    return {inside, inside == x.v ? x.d : V{}};
}
