#include "pair_mmtp.hpp"

#include <atom.h>
#include <comm.h>
#include <error.h>
#include <force.h>
#include <memory.h>
#include <neigh_list.h>
#include <neighbor.h>
#include <update.h>
#include <utils.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

using namespace LAMMPS_NS;

namespace {

constexpr double kUnphysical = 0.5;      // A; two atoms closer than this are an error, as in magflow
constexpr double kCollinear = 1e-6;      // largest x or y component of a spin's direction
constexpr double kTwoPi = 6.283185307179586;
constexpr int kVoigt[6] = {0, 1, 2, 5, 4, 3};  // where LAMMPS has xx yy zz xy xz yz among xx yy zz yz xz xy

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
    return out;
}

}  // namespace

PairMmtp::PairMmtp(LAMMPS* lmp) : Pair(lmp) {
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    single_enable = 0;
    no_virial_fdotr_compute = 1;
    centroidstressflag = CENTROID_AVAIL;
}

PairMmtp::~PairMmtp() {
    if (!allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
}

// On all processes alike.
void PairMmtp::fail(const std::string& what) const { error->all(FLERR, "pair mmtp: " + what); }

void PairMmtp::settings(int narg, char**) {
    if (narg) fail("pair_style mmtp takes no arguments; the potential is named by pair_coeff * * FILE SPECIES ...");
}

void PairMmtp::coeff(int narg, char** arg) {
    const int n = atom->ntypes;
    if (narg < 3) fail("expected pair_coeff * * FILE and the species of every atom type");
    if (narg != 3 + n)
        fail("there are " + std::to_string(n) + " atom types, and pair_coeff names the species of " + std::to_string(narg - 3));
    read(arg[2]);
    set_species(std::vector<std::string>(arg + 3, arg + narg));
    blocks_ = std::make_unique<mmtp::Blocks>(mmtp::engine(""), int(file_.species.size()), file_.cutoff);
    list_ = -1;
    if (!allocated) {
        memory->create(setflag, n + 1, n + 1, "pair:setflag");
        memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
        allocated = 1;
    }
    for (int i = 1; i <= n; ++i)
        for (int j = 1; j <= n; ++j) setflag[i][j] = 1;
    std::size_t draws = 0;
    for (const mmtp::Model& m : file_.members) draws = std::max(draws, m.draws.size());
    comm_reverse = int(std::max(3 * file_.members.size(), 4 * draws));
    comm_reverse = std::max(comm_reverse, 1);
}

// One process reads for all.
void PairMmtp::read(const char* file) {
    std::string text;
    int size = -1;
    if (comm->me == 0) {
        std::ifstream in(file, std::ios::binary);
        std::ostringstream content;
        if (in && content << in.rdbuf()) text = content.str();
        if (in) size = int(text.size());
    }
    MPI_Bcast(&size, 1, MPI_INT, 0, world);
    if (size < 0) fail(std::string(file) + " cannot be read");
    text.resize(size);
    MPI_Bcast(text.data(), size, MPI_CHAR, 0, world);
    try {
        file_ = mmtp::read_model(text);
    } catch (const std::invalid_argument& e) {
        fail(std::string(file) + ": " + e.what());
    }
    views_.clear();
    model_.clear();
    for (const mmtp::Model& member : file_.members)
        for (mmtp::View& view : views_of(member, member.parameters.data())) {
            views_.push_back(std::move(view));
            model_.push_back(&member);
        }
    if (comm->me == 0)
        utils::logmesg(lmp, "pair mmtp: " + std::to_string(file_.members.size()) + " potential(s) for " + joined(file_.species) +
                                ", identity " + file_.identity + ", by magflow " + file_.writer + "\n");
}

void PairMmtp::set_species(const std::vector<std::string>& of_types) {
    species_of_type_.assign(1, 0);
    for (const std::string& name : of_types) {
        const auto at = std::find(file_.species.begin(), file_.species.end(), name);
        if (at == file_.species.end()) fail("the potential does not know '" + name + "'; it knows " + joined(file_.species));
        species_of_type_.push_back(int(at - file_.species.begin()));
    }
}

void PairMmtp::init_style() {
    if (std::strcmp(update->unit_style, "metal") != 0) fail("needs units metal");
    if (!force->newton_pair) fail("needs newton on for pairs");
    if (file_.magnetic) find_moments();
    neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairMmtp::init_one(int, int) { return file_.cutoff; }

void PairMmtp::find_moments() {
    int flag = 0, columns = 0, ghost = 0;
    const int found = atom->find_custom_ghost("moment", flag, columns, ghost);
    if (atom->sp_flag && found >= 0) fail("moments are given twice, by atom_style spin and by d_moment");
    moment_index_ = found;
    if (atom->sp_flag) return;
    const std::string how = "fix ID all property/atom d_moment ghost yes";
    if (found < 0) fail("the potential needs moments: use atom_style spin, or " + how);
    if (flag != 1 || columns != 0) fail("moments are numbers, one per atom: " + how);
    if (!ghost) fail("moments of ghost atoms are missing: " + how);
}

void PairMmtp::read_moments() {
    const int n = atom->nlocal + atom->nghost;
    moment_.assign(n, 0.0);
    if (!file_.magnetic) return;
    if (moment_index_ >= 0) {
        std::copy(atom->dvector[moment_index_], atom->dvector[moment_index_] + n, moment_.begin());
        return;
    }
    for (int i = 0; i < n; ++i) {
        const double* s = atom->sp[i];
        if (s[3] != 0.0 && (std::abs(s[0]) > kCollinear || std::abs(s[1]) > kCollinear))
            error->one(FLERR, "pair mmtp: the moment of atom " + std::to_string(atom->tag[i]) + " is not along z");
        moment_[i] = s[3] * s[2];
    }
}

void PairMmtp::set_list() {
    const int n_local = atom->nlocal, n = n_local + atom->nghost, n_types = int(file_.species.size());
    if (list->inum != n_local) fail("all atoms need neighbours: pair_style hybrid with NULL and neigh_modify exclude are not supported");
    std::vector<std::int32_t> type(n);
    for (int i = 0; i < n; ++i) type[i] = species_of_type_[atom->type[i]];
    mmtp::NeighbourList by_type = {{0}, {}};
    std::vector<std::int64_t> place(n_types);
    for (int i = 0; i < n_local; ++i) {
        const int *neighbour = list->firstneigh[i], *end = neighbour + list->numneigh[i];
        std::fill(place.begin(), place.end(), 0);
        for (const int* k = neighbour; k < end; ++k) ++place[type[*k & NEIGHMASK]];
        for (std::int64_t& p : place) {
            const std::int64_t count = p;
            p = by_type.first.back();
            by_type.first.push_back(p + count);
        }
        by_type.neighbour.resize(by_type.first.back());
        for (const int* k = neighbour; k < end; ++k) {
            const int j = *k & NEIGHMASK;
            by_type.neighbour[place[type[j]]++] = j;
        }
    }
    blocks_->set_list(std::move(type), std::move(by_type), n ? atom->x[0] : nullptr);
    list_ = neighbor->ncalls;
}

std::vector<mmtp::View> PairMmtp::views_of(const mmtp::Model& model, const double* parameters) const {
    std::vector<mmtp::View> out = {{&model.spec, parameters, 1.0}};
    if (model.symmetrise && file_.magnetic) out.push_back({&model.spec, parameters, -1.0});
    return out;
}

// Of a view in its member.
double PairMmtp::weight(std::size_t view) const { return model_[view]->symmetrise && file_.magnetic ? 0.5 : 1.0; }

void PairMmtp::compute(int eflag, int vflag) {
    ev_init(eflag, vflag);
    if (neighbor->ago == 0 || list_ != neighbor->ncalls) set_list();
    read_moments();
    mmtp::PairVisitor visitor;
    if (vflag_atom || cvflag_atom) visitor = [this](const mmtp::View& v, const mmtp::BlockPairs& p) { tally(v, p); };
    for (mmtp::View& view : views_) view.by_moment = asks_by_moment();
    const double closest = blocks_->evaluate(atom->nlocal + atom->nghost ? atom->x[0] : nullptr, moment_, views_, visitor);
    if (closest < kUnphysical)
        error->one(FLERR, "pair mmtp: two atoms are " + std::to_string(closest) + " A apart, too close for any potential");
    add_up();
    fill_wanted();
}

// Whether dE/dm is wanted at this step: by spins, or by a number of `fix pair` that may need it.
bool PairMmtp::asks_by_moment() const {
    const auto wanted = [](const auto& one) { return one.second.wanted != 0; };
    return atom->sp_flag || std::any_of(per_atom_.begin(), per_atom_.end(), wanted);
}

// The mean of the members.
void PairMmtp::add_up() {
    const int n_local = atom->nlocal, n = n_local + atom->nghost;
    const double to_fm = kTwoPi / force->hplanck;
    for (std::size_t v = 0; v < views_.size(); ++v) {
        const mmtp::View& view = views_[v];
        const double share = weight(v) / double(file_.members.size());
        const double* g = view.gradient.data();
        for (int i = 0; i < n; ++i)
            for (int a = 0; a < 3; ++a) atom->f[i][a] -= share * g[4 * i + a];
        if (atom->sp_flag && file_.magnetic)  // LAMMPS means -dE/d(direction)/hbar, rad/ps
            for (int i = 0; i < n; ++i) atom->fm[i][2] -= share * view.sign * g[4 * i + 3] * atom->sp[i][3] * to_fm;
        if (eflag_global)
            for (int i = 0; i < n_local; ++i) eng_vdwl += share * view.energy[i];
        if (eflag_atom)
            for (int i = 0; i < n_local; ++i) eatom[i] += share * view.energy[i];
        if (vflag_global)
            for (int k = 0; k < 6; ++k) virial[k] -= share * view.virial[kVoigt[k]];
    }
}

// An atom's virial is that of the forces which its neighbours' energies exert on it: with it the heat flux is exact.
void PairMmtp::tally(const mmtp::View& view, const mmtp::BlockPairs& pairs) {
    const double share = weight(std::size_t(&view - views_.data())) / double(file_.members.size());
    for (std::int64_t p = 0; p < pairs.count; ++p) {
        const double *r = pairs.row + 4 * p, *g = pairs.gradient + 4 * p;
        const int j = pairs.neighbour[p];
        double w[3][3];
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) w[a][b] = -share * r[a] * g[b];
        if (vflag_atom) {
            const double symmetric[6] = {w[0][0], w[1][1], w[2][2], 0.5 * (w[0][1] + w[1][0]), 0.5 * (w[0][2] + w[2][0]), 0.5 * (w[1][2] + w[2][1])};
            for (int k = 0; k < 6; ++k) vatom[j][k] += symmetric[k];
        }
        if (cvflag_atom) {
            const double all[9] = {w[0][0], w[1][1], w[2][2], w[0][1], w[0][2], w[1][2], w[1][0], w[2][0], w[2][1]};
            for (int k = 0; k < 9; ++k) cvatom[j][k] += all[k];
        }
    }
}

double PairMmtp::memory_usage() {
    double bytes = Pair::memory_usage() + double(moment_.size() * sizeof(double));
    for (const mmtp::View& view : views_) bytes += double((view.energy.size() + view.gradient.size()) * sizeof(double));
    return bytes;
}
