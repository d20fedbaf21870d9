#include "model_file.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string_view>

namespace mmtp {
namespace {

constexpr const char* kFormat = "magflow-lammps";
constexpr int kNumber = 1;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

class Words {
  public:
    explicit Words(const std::string& text) : text_(text) {}

    std::string word() {
        const char* blanks = " \t\r\n";
        const std::size_t from = text_.find_first_not_of(blanks, at_);
        if (from == std::string_view::npos) refuse("the file ends early");
        at_ = std::min(text_.find_first_of(blanks, from), text_.size());
        return std::string(text_.substr(from, at_ - from));
    }

    void expect(const std::string& name) {
        if (const std::string found = word(); found != name) refuse("the file is damaged: '" + found + "' where '" + name + "' should be");
    }

    double real() {
        const std::string found = word();
        char* end = nullptr;
        const double value = std::strtod(found.c_str(), &end);
        if (*end) refuse("the file is damaged: '" + found + "' where a number should be");
        return value;
    }

    std::int32_t integer() {
        const double value = real();
        if (!(value >= -1e9 && value <= 1e9) || value != std::int32_t(value)) refuse("the file is damaged: a number is no integer");
        return std::int32_t(value);
    }

    std::int32_t named(const std::string& name) {
        expect(name);
        return integer();
    }

    double named_real(const std::string& name) {
        expect(name);
        return real();
    }

    // A name, how many numbers follow, and these.
    std::vector<double> reals(const std::string& name) {
        std::vector<double> out(count(name));
        for (double& x : out) x = real();
        return out;
    }

    std::vector<std::int32_t> integers(const std::string& name) {
        std::vector<std::int32_t> out(count(name));
        for (std::int32_t& x : out) x = integer();
        return out;
    }

    std::size_t count(const std::string& name) {
        const std::int32_t n = named(name);
        if (n < 0 || std::size_t(n) > text_.size()) refuse("the file is damaged: " + name + " of impossible length");
        return std::size_t(n);
    }

  private:
    std::string_view text_;
    std::size_t at_ = 0;
};

void check_format(const std::string& found) {
    const std::string expected = kFormat + ("-" + std::to_string(kNumber));
    if (found == expected) return;
    const std::string hint = "; write it with `magflow lammps export`";
    if (found.rfind(std::string(kFormat) + "-", 0) != 0) refuse("no potential for pair_style mmtp" + hint);
    refuse("written in format " + found + ", this plugin reads " + expected + "; build the plugin with the magflow that wrote the file");
}

Source source_of(Words& in) {
    in.expect("deviation_source");
    const std::string found = in.word();
    if (found == "ensemble") return Source::ensemble;
    if (found == "laplace") return Source::laplace;
    if (found == "both") return Source::both;
    refuse("a deviation from '" + found + "' is not known");
}

Model read_member(Words& in, int n_types, double cutoff) {
    Shape s;
    s.n_types = n_types;
    s.cutoff = cutoff;
    s.n_mu = in.named("n_mu");
    s.n_phi = in.named("n_phi");
    s.n_psi = in.named("n_psi");
    s.r_min = in.named_real("r_min");
    s.extend = in.named("extend") != 0;
    Model out;
    out.symmetrise = in.named("symmetrise") != 0;
    s.max_moment = in.reals("max_moment");
    s.pairs = in.integers("pairs");
    s.basic = in.integers("basic");
    s.mono = in.integers("mono");
    s.times = in.integers("times");
    s.mult = in.reals("mult");
    s.scalar = in.integers("scalar");
    out.spec = make_spec(s);
    out.parameters = in.reals("parameters");
    require(int(out.parameters.size()) == out.spec.n_parameters(), "wrong number of parameters");
    out.draws.resize(in.count("draws"));
    if (out.draws.empty()) return out;
    out.force_scale = in.named_real("force_scale");
    out.moment_scale = in.named_real("moment_scale");
    out.undecided = in.named_real("undecided");
    for (auto& draw : out.draws) {
        draw = in.reals("draw");
        require(draw.size() == out.parameters.size(), "a draw of another number of parameters");
        for (std::size_t k = 0; k < draw.size(); ++k) draw[k] += out.parameters[k];
    }
    return out;
}

}  // namespace

ModelFile read_model(const std::string& text) {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) refuse("the file is empty");
    Words in(text);
    check_format(in.word());
    ModelFile out;
    in.expect("writer");
    out.writer = in.word();
    in.expect("identity");
    out.identity = in.word();
    out.species.resize(in.count("species"));
    for (std::string& s : out.species) s = in.word();
    out.cutoff = in.named_real("cutoff");
    out.source = source_of(in);
    out.deviation_scale = in.named_real("deviation_scale");
    out.deviation_floor = in.named_real("deviation_floor");
    out.magnetic = in.named("magnetic") != 0;
    const std::size_t members = in.count("members");
    require(members > 0, "no members");
    for (std::size_t k = 0; k < members; ++k) out.members.push_back(read_member(in, int(out.species.size()), out.cutoff));
    in.expect("end");
    return out;
}

}  // namespace mmtp
