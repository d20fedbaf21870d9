// What LAMMPS calls when it loads the plugin. Built by `magflow lammps build`, which defines
//   MAGFLOW_LAMMPS_VERSION  the version of the LAMMPS it is built for, as that prints it
//   MAGFLOW_MPICH, MAGFLOW_OPEN_MPI  the MPI which that LAMMPS was built with
#include <error.h>
#include <lammps.h>
#include <mpi.h>

#include <cstring>
#include <string>

#include "pair_mmtp.hpp"

#if defined(MAGFLOW_MPICH) && !defined(MPICH)
#error "mpi.h is not that of MPICH, which this LAMMPS was built with"
#endif
#if defined(MAGFLOW_OPEN_MPI) && !defined(OPEN_MPI)
#error "mpi.h is not that of Open MPI, which this LAMMPS was built with"
#endif

namespace {

// As in lammpsplugin.h, which installations of LAMMPS leave out.
struct Plugin {
    const char *version, *style, *name, *info, *author;
    union {
        void* (*v1)(void*);
        void* (*v2)(void*, int, char**);
    } creator;
    void* handle;
};
using Register = void (*)(Plugin*, void*);

void* create(void* lammps) { return new LAMMPS_NS::PairMmtp(static_cast<LAMMPS_NS::LAMMPS*>(lammps)); }

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* opened, void* handle, void* add) {
    auto* lammps = static_cast<LAMMPS_NS::LAMMPS*>(opened);
    if (std::strcmp(lammps->version, MAGFLOW_LAMMPS_VERSION) != 0)
        lammps->error->all(FLERR, std::string("the mmtp plugin was built for LAMMPS " MAGFLOW_LAMMPS_VERSION ", this is ") + lammps->version +
                                      "; build it again with `magflow lammps build`");
    Plugin plugin = {};
    plugin.version = MAGFLOW_LAMMPS_VERSION;
    plugin.style = "pair";
    plugin.name = "mmtp";
    plugin.info = "magnetic moment tensor potentials of magflow";
    plugin.author = "The magflow developers";
    plugin.creator.v1 = &create;
    plugin.handle = handle;
    reinterpret_cast<Register>(add)(&plugin, opened);
}
