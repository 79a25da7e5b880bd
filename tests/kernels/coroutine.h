// A function with a stack of its own, which is left and entered again.
//
// ucontext.h has it, and asks the kernel for the mask of signals at each change, which is most of the time that small
// kernels take here. On x86-64 a change is a few instructions instead; sanitizers know ucontext.h alone.

#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)

// Keeps what a function must not change on its stack, and takes the other stack's: the System V ABI for x86-64.
asm(R"(
    .text
    .p2align 4
tubes_change_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
extern "C" __attribute__((visibility("hidden"))) void tubes_change_stack(void** from, void* to);

struct Coroutine {
    void* top = nullptr;

    // `function` must not return.
    void prepare(char* stack, size_t size, void (*function)()) {
        void** at = (void**)(((uintptr_t)stack + size) & ~(uintptr_t)15) - 2;  // as if it had been called
        *at = (void*)function;
        for (int i = 0; i < 6; ++i) *--at = nullptr;
        top = at;
    }

    // Goes on where the other one was left; returns when this one is gone on with.
    void leave(Coroutine& to) { tubes_change_stack(&top, to.top); }
};

#else

#include <ucontext.h>

struct Coroutine {
    ucontext_t context;

    void prepare(char* stack, size_t size, void (*function)()) {
        getcontext(&context);
        context.uc_stack = {stack, 0, size};
        context.uc_link = nullptr;
        makecontext(&context, function, 0);
    }

    void leave(Coroutine& to) { swapcontext(&context, &to.context); }
};

#endif
