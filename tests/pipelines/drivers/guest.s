# A boot sector that counts the timer's ticks (18 a second) at 0x8000 and prints each count to the serial port.
# BUSY=1 also rewrites 512 KiB at every tick, so that a slow migration never catches up.
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
        mov     $8, %cx
digit:  rol     $4, %ebp
        mov     %bp, %ax
        and     $15, %al
        cmp     $10, %al
        jb      small
        add     $39, %al                # from '9' on to 'a'
small:  add     $48, %al
        call    put
        loop    digit
        mov     $10, %al
        call    put
        jmp     tick

put:    mov     %al, %ah
        mov     $0x3fd, %dx
full:   in      %dx, %al
        test    $0x20, %al
        jz      full
        mov     $0x3f8, %dx
        mov     %ah, %al
        out     %al, %dx
        ret

        .org    510
        .word   0xaa55
