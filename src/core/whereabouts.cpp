#include "pleiad/core/whereabouts.hpp"

namespace pleiad {

Whereabouts& whereabouts() {
  static Whereabouts here;
  return here;
}

}  // namespace pleiad
