#include "predict.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "room.hpp"

namespace mmtp {
namespace {

constexpr std::int64_t kTogether = 256;  // atoms; their pairs are some hundred kB

}  // namespace

Predictor::Predictor(const Engine& engine, std::vector<Evaluated> potentials, bool by_moment)
    : engine_(engine), potentials_(std::move(potentials)), by_moment_(by_moment), search_(potentials_.at(0).spec->cutoff, false) {
    for (const Evaluated& one : potentials_)
        require(one.spec->n_types == potentials_[0].spec->n_types && one.spec->cutoff == search_.cutoff(), "potentials of other species or cutoff");
}

double Predictor::closest() const { return std::sqrt(pairs_.closest2); }

std::vector<Predicted> Predictor::predict(const Cells& cells) {
    for (std::int64_t i = 0; i < cells.n_atoms; ++i) require(cells.type[i] >= 0 && cells.type[i] < potentials_[0].spec->n_types, "bad type");
    pairs_ = {};
    sums_.clear();
    for (const Evaluated& one : potentials_) {
        sums_.emplace_back(one.symmetrise ? 2 : 1);
        for (Sums& sums : sums_.back()) {
            sums.energy.resize(cells.n_atoms);
            sums.gradient.resize(4 * cells.n_atoms);
            sums.virial.resize(6 * cells.n_frames);
        }
    }
    const double* position = cells.position;
    for (std::int64_t frame = 0, base = 0; frame < cells.n_frames;) {
        const std::int64_t first = frame, n = cells.count[frame];
        if (n > kTogether) {
            search_.set(n, position, cells.cell + 9 * frame++);
            pairs_.volume.push_back(search_.volume());
            for (std::int64_t at = 0; at < n; at += kTogether) {
                pairs_.clear();
                search_.add_atoms(at, std::min(n, at + kTogether), 0, pairs_);
                evaluate(cells, first, 1, base, at, std::min(n, at + kTogether));
            }
            base += n;
            position += 3 * n;
            continue;
        }
        pairs_.clear();
        std::int64_t atoms = 0;
        for (; frame < cells.n_frames && atoms + cells.count[frame] <= kTogether; ++frame) {
            search_.add(cells.count[frame], position, cells.cell + 9 * frame, pairs_);
            atoms += cells.count[frame];
            position += 3 * cells.count[frame];
        }
        evaluate(cells, first, frame - first, base, 0, atoms);
        base += atoms;
    }
    std::vector<Predicted> out;
    for (std::size_t k = 0; k < potentials_.size(); ++k) out.push_back(added_up(cells, potentials_[k], std::move(sums_[k])));
    return out;
}

// Atoms begin .. end of the frames from `first_frame` on, the first of which begins with atom `base`.
void Predictor::evaluate(const Cells& cells, std::int64_t first_frame, std::int64_t n_frames, std::int64_t base, std::int64_t begin,
                         std::int64_t end) {
    frame_.clear();
    for (std::int64_t f = 0; f < n_frames; ++f) frame_.insert(frame_.end(), cells.count[first_frame + f], std::int32_t(f));
    const Packing packing(engine_.lanes, potentials_[0].spec->n_types, std::int64_t(frame_.size()), cells.type + base,
                          {begin, end, pairs_.first.data(), pairs_.neighbour.data()});
    const Lanes lanes = packing.lanes(n_frames, frame_.data());
    std::int64_t needed = 0;
    for (const Evaluated& one : potentials_) needed = std::max(needed, engine_.evaluate_workspace(*one.spec, lanes.most_slots));
    const Room work(needed);
    for (std::int64_t block = 0; block < lanes.n_blocks; ++block)
        for (std::size_t k = 0; k < potentials_.size(); ++k)
            for (std::size_t s = 0; s < sums_[k].size(); ++s) {
                Sums& sums = sums_[k][s];
                const State state = {pairs_.vector.data(), cells.moment + base, s ? -1.0 : 1.0};
                const Output out = {sums.energy.data() + base, sums.gradient.data() + 4 * base, sums.virial.data() + 6 * first_frame, nullptr,
                                    by_moment_};
                engine_.evaluate(*potentials_[k].spec, potentials_[k].parameters, lanes, block, state, work.data(), out);
            }
}

Predicted Predictor::added_up(const Cells& cells, const Evaluated& potential, std::vector<Sums>&& sums) const {
    Sums& here = sums[0];
    if (potential.symmetrise) {
        const Sums& reversed = sums[1];
        const auto halve = [](std::vector<double>& x, const std::vector<double>& y, auto sign) {
            for (std::size_t k = 0; k < x.size(); ++k) x[k] = 0.5 * (x[k] + sign(k) * y[k]);
        };
        const auto same = [](std::size_t) { return 1.0; };
        halve(here.energy, reversed.energy, same);
        halve(here.gradient, reversed.gradient, [](std::size_t k) { return k % 4 == 3 ? -1.0 : 1.0; });
        halve(here.virial, reversed.virial, same);
    }
    std::vector<double> energy(cells.n_frames, 0.0);
    const double* atom = here.energy.data();
    for (std::int64_t f = 0; f < cells.n_frames; ++f)
        for (std::int64_t i = 0; i < cells.count[f]; ++i) energy[f] += *atom++;
    return {std::move(energy), std::move(here.gradient), std::move(here.virial)};
}

}  // namespace mmtp
