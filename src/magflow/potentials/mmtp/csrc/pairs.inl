// Pairs within a distance, from a list that reaches farther. Included once per instruction set, inside an anonymous namespace.

typedef double Row __attribute__((vector_size(32)));
typedef double LooseRow __attribute__((vector_size(32), aligned(8), may_alias));

// Without a branch: whether a pair of the list is within is a coin's toss.
int64_t pairs(const Places& places, int32_t atom, const Listed* begin, const Listed* end, double distance2, double* row, int32_t* other,
              double& closest2) {
    const LooseRow* place = reinterpret_cast<const LooseRow*>(places.atom);
    const LooseRow* image = reinterpret_cast<const LooseRow*>(places.image);
    LooseRow* out = reinterpret_cast<LooseRow*>(row);
    Row own = place[atom];
    own[3] = 0.0;
    int64_t found = 0;
    double closest = closest2;
    for (const Listed* one = begin; one != end; ++one) {
        const Row v = place[one->atom] - own + image[one->image], square = v * v;
        const double d2 = square[0] + square[1] + square[2];
        out[found] = v;
        other[found] = one->atom;
        closest = d2 < closest ? d2 : closest;
        found += d2 < distance2;
    }
    closest2 = closest;
    return found;
}
