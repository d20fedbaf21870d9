// pair_style mmtp: magnetic moment tensor potentials and their ensembles in LAMMPS. See docs/lammps.md.
#pragma once
#include <pair.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blocks.hpp"
#include "model_file.hpp"

namespace LAMMPS_NS {

class PairMmtp : public Pair {
  public:
    explicit PairMmtp(LAMMPS*);
    ~PairMmtp() override;

    void settings(int, char**) override;
    void coeff(int, char**) override;
    void init_style() override;
    double init_one(int, int) override;
    void compute(int eflag, int vflag) override;
    void* extract(const char*, int&) override;
    void* extract_peratom(const char*, int&) override;
    int pack_reverse_comm(int, int, double*) override;
    void unpack_reverse_comm(int, int*, double*) override;
    double memory_usage() override;

  private:
    // A number per atom that is worked out where `fix pair` asks for it.
    struct PerAtom {
        void (PairMmtp::*fill)(std::vector<double>&);
        int wanted = 0;
        bigint step = -1;
        std::vector<double> values = {};
    };

    struct Moved {
        double force = 0.0, moment = 0.0;
    };

    [[noreturn]] void fail(const std::string&) const;
    void read(const char* file);
    void set_species(const std::vector<std::string>& of_types);
    void set_list();
    void find_moments();
    void read_moments();
    std::vector<mmtp::View> views_of(const mmtp::Model&, const double* parameters) const;
    double weight(std::size_t view) const;
    bool asks_by_moment() const;
    void add_up();
    void tally(const mmtp::View&, const mmtp::BlockPairs&);
    void fill_wanted();
    void fill_magnetic_forces(std::vector<double>&);
    void fill_deviations(std::vector<double>&);
    void fill_grades(std::vector<double>&);
    std::vector<double> variances_of_members();
    std::vector<Moved> moved_by_draws(std::size_t member);
    void sum_ghosts(std::vector<double>& rows, int width);

    mmtp::ModelFile file_;
    std::vector<int> species_of_type_;
    std::unique_ptr<mmtp::Blocks> blocks_;
    bigint list_ = -1;  // which list of neighbours is laid out
    int moment_index_ = -1;  // of d_moment; -1: spins
    std::vector<double> moment_;             // [atom and ghost] muB
    std::vector<mmtp::View> views_;          // of all members
    std::vector<const mmtp::Model*> model_;  // [view]
    std::map<std::string, PerAtom> per_atom_ = {{"magnetic_force", {&PairMmtp::fill_magnetic_forces}},
                                                {"deviation", {&PairMmtp::fill_deviations}},
                                                {"grade", {&PairMmtp::fill_grades}}};
    double* rows_ = nullptr;  // what reverse communication sums
    int width_ = 0;
};

}  // namespace LAMMPS_NS
