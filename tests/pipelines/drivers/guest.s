# A boot sector that counts the timer's ticks (18 a second) at 0x8000 and prints each count to the serial port.
# BUSY=1 also rewrites 512 KiB at every tick, so that a slow migration never catches up.
#
# Emulated CPUs of QEMU before 9.0 lose track of writes to a page whose translation they still hold while a migration
# looks for what was written ("migration dirty bitmap coherency with TCG memory access"; KVM does not). Changing
# a bit of cr0 at each tick makes them drop all translations; nothing but interrupts uses the stack.
        .code16
start:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7c00, %sp
        sti
        cld
        movl    $0, 0x8000

tick:   mov     0x46c, %bx              # the BIOS's own count of ticks
still:  hlt
        cmp     %bx, 0x46c
        je      still
        mov     %cr0, %eax
        xor     $0x10000, %eax
        mov     %eax, %cr0
        incl    0x8000

        .if     BUSY
        mov     $0x1000, %si
fill:   mov     %si, %es
        xor     %di, %di
        mov     0x8000, %eax
        mov     $0x4000, %cx
        rep     stosl
        add     $0x1000, %si
        cmp     $0x9000, %si
        jb      fill
        .endif

        mov     0x8000, %ebp
        mov     $9, %cx                 # eight digits and the line's end
digit:  mov     $10, %bl
        cmp     $1, %cx
        je      put
        rol     $4, %ebp
        mov     %bp, %bx
        and     $15, %bl
        cmp     $10, %bl
        jb      small
        add     $39, %bl                # from '9' on to 'a'
small:  add     $48, %bl
put:    mov     $0x3fd, %dx
full:   in      %dx, %al
        test    $0x20, %al
        jz      full
        mov     $0x3f8, %dx
        mov     %bl, %al
        out     %al, %dx
        loop    digit
        jmp     tick

        .org    510
        .word   0xaa55
