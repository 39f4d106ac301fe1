// The process's one OpenMP team. OneFlow calls kernels on several of its threads, and OpenMP would give each of them a
// team: more threads than processors, which libgomp puts to sleep between any two loops.
#pragma once

#include <functional>

namespace insightface {

// The size of the team: the first number in OMP_NUM_THREADS, else the number of processors the process may use.
int ThreadCount();

// Runs `work` on the thread that leads the team and returns when it has finished; callers wait for their turn. Rethrows
// an exception of `work`. May be called within `work`.
void OnTeam(const std::function<void()>& work);

}  // namespace insightface
