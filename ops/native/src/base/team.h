// The process's one OpenMP team. OneFlow runs kernels on several threads of its own, and OpenMP gives each a team: more
// threads than processors, which libgomp then puts to sleep between any two loops.
#pragma once

#include <functional>

namespace insightface {

// The team's size: the first number in OMP_NUM_THREADS, else the processors that the process may run on.
int ThreadCount();

// Runs `work` on the thread that leads the team, one after the other, and returns when it has ended. Throws what it
// throws. Within `work` it may be called again.
void OnTeam(const std::function<void()>& work);

}  // namespace insightface
